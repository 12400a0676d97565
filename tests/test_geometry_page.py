"""The arithmetic of docs/guides/geometry.md is that of the recipes."""

import re

import yaml
from launching import ROOT

from es_trl.__main__ import main as cli


PAGE = (ROOT / "docs" / "guides" / "geometry.md").read_text()
FIELDS = ("per_device_train_batch_size", "steps_per_generation", "gradient_accumulation_steps", "num_generations")
RESULTS = ("completions per rollout", "prompts per rollout", "updates per rollout", "rollouts in the run")


def table(head):
    """The rows of the table whose first line begins with `head`, as lists of texts."""
    lines = PAGE[PAGE.index(head) :].splitlines()
    rows = [[cell.strip(" `") for cell in line.split("|")[1:-1]] for line in lines[: lines.index("")]]
    return [rows[0], *rows[2:]]


def planned(capsys, *words):
    """The rows of a plan, number by name."""
    assert cli(["plan", *words]) == 0
    rows = re.findall(r"^([a-z].*?)  +(\d+)$", capsys.readouterr().out, re.MULTILINE)
    return {name: int(value) for name, value in rows}


def test_three_recipes(capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    (_, *recipes), *rows = table("| | `countdown_es`")
    assert len(recipes) == 3
    for at, recipe in enumerate(recipes, start=1):
        cells = {row[0]: row[at] for row in rows}
        given = yaml.safe_load((ROOT / "recipes" / f"{recipe}.yaml").read_text())
        assert {field: int(cells[field]) for field in FIELDS} == {field: given[field] for field in FIELDS}
        plan = planned(capsys, f"recipes/{recipe}.yaml", "--num_processes", cells["processes"])
        for name in RESULTS:
            formula, result = cells[name].split(" = ")
            assert eval(formula.replace("x", "*")) == int(result) == plan[name], (recipe, name)


def test_the_same_rollout_on_fewer_gpus(capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    _, *rows = table("| processes | `steps_per_generation`")
    assert len(rows) == 3
    for processes, steps, accumulated, completions, updates in rows:
        options = ["--steps_per_generation", steps, "--gradient_accumulation_steps", accumulated]
        plan = planned(capsys, "recipes/qwen7b_es.yaml", "--num_processes", processes, *options)
        assert plan["completions per rollout"] == int(completions) and plan["updates per rollout"] == int(updates)


def test_the_first_plan_is_what_is_printed(capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert cli(["plan", "recipes/qwen7b_es.yaml", "--num_processes", "8"]) == 0
    assert capsys.readouterr().out.startswith(re.search(r"```text\n(processes .*?)```", PAGE, re.DOTALL)[1])
