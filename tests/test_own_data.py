"""The files of examples/own_data train as docs/start/own_recipe.md says, and its recipe for Qwen2.5 can be planned."""

import json
import re
import subprocess
import sys

import pytest
from launching import LIMIT, ROOT, environment

from es_trl.__main__ import main as cli


RECIPE = "examples/own_data/recipe.yaml"
PAGE = (ROOT / "docs" / "start" / "own_recipe.md").read_text()


def test_the_plan_is_what_the_page_shows(capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert cli(["plan", RECIPE]) == 0
    begin, end = re.search(r"```text\n(processes .*?)\.\.\.\n(.*?)```", PAGE, re.DOTALL).groups()
    plan = capsys.readouterr().out
    assert plan.startswith(begin) and plan.endswith(f"\n{end}\n") and end.startswith("rewards ")


def test_the_recipe_for_a_chat_model_is_planned(tmp_path, capsys):
    recipe = tmp_path / "my_recipe.yaml"
    recipe.write_text(re.search(r"```yaml\n(model_name_or_path: Qwen.*?)```", PAGE, re.DOTALL)[1])
    assert cli(["plan", str(recipe)]) == 0
    printed = capsys.readouterr().out
    for row in ("prompts per rollout +64", "updates per rollout +8", "rollouts in the run +200"):
        assert re.search(rf"^{row}$", printed, re.MULTILINE), row
    steps = ["--steps_per_generation", "8", "--gradient_accumulation_steps", "1"]
    assert cli(["plan", str(recipe), *steps, "--num_processes", "8"]) == 0
    assert re.search(r"^prompts per rollout +64$", capsys.readouterr().out, re.MULTILINE)


@pytest.mark.slow
def test_it_trains_and_holds_its_entropy(tmp_path):
    command = [sys.executable, "-m", "es_trl", "train", RECIPE, "--max_steps", "120", "--output_dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=LIMIT)
    assert done.returncode == 0, done.stderr
    assert f"model, card and history are in {tmp_path}" in done.stdout
    records = [json.loads(line) for line in (tmp_path / "es_history.jsonl").read_text().splitlines()]
    assert len(records) == 30 and records[-1]["reward"] > records[0]["reward"] + 0.1
    held = [abs(record["error"]) for record in records[8:22]]  # the anneal begins at 22
    assert sum(held) / len(held) < 0.05
