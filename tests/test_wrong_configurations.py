import re

import pytest
import yaml
from lab_runs import BONUS, LAB_ARGS
from wrong_configurations import IN_RECIPES, is_one_sentence

from es_trl.common.refusals import run
from es_trl.lab import BASE_MODEL, countdown_reward
from es_trl.lab.prompts import load_countdown
from es_trl.recipe import RecipeParser, train


pytestmark = pytest.mark.usefixtures("no_weights_load")


def run_recipe(text, tmp_path):
    """What the script of a recipe does with keys in the place of those of a good recipe."""
    text = text.replace("{tmp}", str(tmp_path))
    given = re.findall(r"^\w+(?=:)", text, flags=re.MULTILINE)
    base = {**LAB_ARGS, **BONUS, "output_dir": str(tmp_path / "run"), "model_name_or_path": BASE_MODEL}
    base = {**base, "dataset_name": "countdown:3", "dtype": "float32"}
    rest = yaml.safe_dump({name: value for name, value in base.items() if name not in given})
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"{rest}{text}\n")

    def main():
        parsed = RecipeParser().parse(["--config", str(recipe)])
        train(parsed, load_countdown(parsed.data, seed=0), countdown_reward)

    run(main)


@pytest.mark.parametrize(("text", "words"), IN_RECIPES, ids=[text for text, _ in IN_RECIPES])
def test_a_wrong_recipe_ends_in_one_sentence_before_weights_load(text, words, tmp_path):
    with pytest.raises(SystemExit) as refused:
        run_recipe(text, tmp_path)
    message = str(refused.value)
    assert message.startswith("error: ") and words in message and is_one_sentence(message), message
