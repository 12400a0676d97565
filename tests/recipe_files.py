"""The shipped recipes, and the commands that launch them, for tests."""

import shlex
from pathlib import Path

from launching import ROOT

from es_trl.__main__ import main as cli


RECIPES = sorted((ROOT / "recipes").glob("*.yaml"))


CPU = ["--use_cpu", "true"]  # a recipe for GPUs is parsed on any machine


ZERO3 = ["--config_file", str(ROOT / "accelerate_configs" / "zero3.yaml")]


def plan_options(command):
    """What `plan` takes of an `accelerate launch` command: the launch's size and config, and the recipe's options."""
    words = shlex.split(command)
    script = next(place for place, word in enumerate(words) if word.endswith(".py"))
    assert (ROOT / words[script]).is_file()
    launch, rest = words[:script], words[script + 1 :]
    options = []
    for name in ("--num_processes", "--config_file"):
        if name in launch:
            value = launch[launch.index(name) + 1]
            options += [name, str(ROOT / value) if name == "--config_file" else value]
    recipe = f"recipes/{Path(words[script]).stem}.yaml"
    if "--config" in rest:
        place = rest.index("--config")
        recipe, rest = rest[place + 1], rest[:place] + rest[place + 2 :]
    return [str(ROOT / recipe), *options, *rest]


def header_commands(path):
    """The launch commands in the comment that a recipe begins with."""
    comment = [line[1:].strip() for line in path.read_text().split("\n\n")[0].splitlines() if line.startswith("#")]
    text = "\n".join(comment).replace("\\\n", " ")
    # an option in brackets may be left out
    return [line.split("[")[0] for line in text.splitlines() if line.startswith("accelerate launch")]


def assert_plan_refuses(recipe, options, message, capsys):
    assert cli(["plan", str(ROOT / "recipes" / recipe), *options]) == 2
    printed = capsys.readouterr()
    assert message in printed.err and len(printed.err.splitlines()) == 1 and printed.out == ""
