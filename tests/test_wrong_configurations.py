import re

import pytest
import yaml
from lab_runs import BONUS, LAB_ARGS
from wrong_configurations import IN_RECIPES, is_one_sentence

from es_trl.common.refusals import run
from es_trl.lab import BASE_MODEL
from es_trl.run import run_recipe


pytestmark = pytest.mark.usefixtures("no_weights_load")


def run_text(text, tmp_path):
    """The exit code of a recipe with keys in the place of those of a good recipe."""
    text = text.replace("{tmp}", str(tmp_path))
    given = re.findall(r"^\w+(?=:)", text, flags=re.MULTILINE)
    base = {**LAB_ARGS, **BONUS, "output_dir": str(tmp_path / "run"), "model_name_or_path": BASE_MODEL}
    base = {**base, "dataset_name": "countdown:3", "dtype": "float32", "reward": "countdown"}
    rest = yaml.safe_dump({name: value for name, value in base.items() if name not in given})
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"{rest}{text}\n")
    return run(run_recipe, ["--config", str(recipe)])


@pytest.mark.parametrize(("text", "words"), IN_RECIPES, ids=[text for text, _ in IN_RECIPES])
def test_a_wrong_recipe_ends_in_one_sentence_before_weights_load(text, words, tmp_path, capfd):
    assert run_text(text, tmp_path) == 2
    message = capfd.readouterr().err.splitlines()[-1]
    assert message.startswith("error: ") and words in message and is_one_sentence(message), message
