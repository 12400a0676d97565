"""The README stays one page, and its snippets do what they say."""

import json
import re

import pytest
import yaml
from launching import ROOT
from tiny_models import tiny_model, tiny_tokenizer

from es_trl.__main__ import main as cli
from es_trl.run import run_recipe


README = (ROOT / "README.md").read_text()
CHAT = "{% for message in messages %}{{ message['content'] }}{% endfor %}"


def block(language, begins):
    """The one block of a language that contains these words."""
    (found,) = [text for text in re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL) if begins in text]
    return found


@pytest.fixture
def own(tmp_path, monkeypatch):
    """The README's recipe and reward beside rows and a tiny chat model, and the options for a CPU."""
    monkeypatch.chdir(tmp_path)
    rows = [{"question": f"{number} + 1 = ", "answer": str(number + 1)} for number in range(100)]
    (tmp_path / "my_data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "recipe.yaml").write_text(block("yaml", "reward:"))
    (tmp_path / "my_reward.py").write_text(block("python", "def my_reward"))
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = CHAT
    tiny_model("llama").save_pretrained("model")
    tokenizer.save_pretrained("model")
    return ["--model_name_or_path", "model", "--use_cpu", "true", "--bf16", "false"]


def test_one_page():
    assert len(README.splitlines()) <= 120 and len(README.split()) <= 1_100


def test_the_recipe_is_planned_as_its_comments_say(own, capsys):
    assert len(yaml.safe_load(block("yaml", "reward:"))) == 10
    assert cli(["plan", "recipe.yaml", *own]) == 0
    plan = capsys.readouterr().out
    assert "warning" not in plan
    for line in ("prompts per rollout                       64", "updates per rollout                       8",
                 "rollouts in the run                       100", "annealing from 90%",
                 "\nrewards     my_reward.py:my_reward (x 1)\n",
                 "\nprompts     100 in 'train', the first is '0 + 1 = '\n"):  # fmt: skip
        assert line in plan


def test_the_recipe_trains(own):
    sizes = ["--steps_per_generation", "2", "--gradient_accumulation_steps", "1", "--max_steps", "4"]
    trainer = run_recipe(["--config", "recipe.yaml", *own, *sizes, "--max_completion_length", "4"])
    rewards = [record["reward"] for record in trainer.history.records]
    assert len(rewards) == 2 and all(0.0 <= reward <= 1.0 for reward in rewards)


@pytest.mark.slow
def test_the_notebook_holds_its_target(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = block("python", "from es_trl import")
    assert len([line for line in code.splitlines() if line]) <= 12
    names = {}
    exec(code, names)  # as a notebook does
    records = names["trainer"].history.records
    assert len(records) == 50 and records[-1]["target"] == pytest.approx(0.2)
    errors = [abs(record["error"]) for record in records[10:]]
    assert sum(errors) / len(errors) < 0.04 and abs(records[-1]["error"]) < 0.06
