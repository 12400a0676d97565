"""Every shipped recipe and every accelerate configuration is read, and says what it promises."""

import pytest
import yaml
from accelerate.commands.config.config_args import load_config_from_file
from launching import ROOT
from recipe_files import CPU, RECIPES, header_commands, plan_options
from smollm_data import in_smollm_folder  # noqa: F401, for pytest

from es_trl.__main__ import main as cli
from es_trl.recipe import RecipeParser


ACCELERATE_CONFIGS = sorted((ROOT / "accelerate_configs").glob("*.yaml"))


def recipe_of_cpu(path):
    text = path.read_text()
    assert ("use_cpu: true" in text) != ("80 GB" in text)  # a recipe for GPUs names them
    return "use_cpu: true" in text


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.name)
def test_every_recipe_parses_and_plans(path, in_smollm_folder, capsys):  # noqa: F811
    recipe = RecipeParser().parse(["--config", str(path), *CPU])
    parts = (recipe.data, recipe.training, recipe.model, recipe.reward)
    known = {"env", *(name for part in parts for name in part.__dataclass_fields__)}
    assert set(yaml.safe_load(path.read_text())) <= known
    on_cpu = recipe_of_cpu(path)
    for plan in [plan_options(command) for command in header_commands(path)] or [[str(path)]]:
        assert plan[0] == str(path)
        assert cli(["plan", *plan]) == 0, capsys.readouterr().err
        printed = capsys.readouterr().out
        assert "updates per rollout" in printed and ("projected and not measured" in printed) != on_cpu
        assert "no memory projection" not in printed and "warning" not in printed


@pytest.mark.parametrize("path", [path for path in RECIPES if path.stem == "qwen7b_es"], ids=lambda path: path.name)
def test_rollouts_are_those_of_the_paper_on_any_number_of_gpus(path, capsys):
    commands = header_commands(path)
    assert len(commands) == 3
    for command, processes in zip(commands, (8, 4, 32), strict=True):
        assert cli(["plan", *plan_options(command)]) == 0
        plan = capsys.readouterr().out
        for line in (f"processes                                 {processes}\n",
                     "prompts per rollout                       512\n", "completions per prompt (num_generations)  8\n",
                     "updates per rollout                       16\n"):  # fmt: skip
            assert line in plan


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.name)
def test_every_recipe_has_a_short_script(path):
    own = path.with_suffix(".py")
    if own.exists():
        script, given = own, ""
    else:  # then its comment says with which script it is launched
        commands = header_commands(path)
        (script,) = {ROOT / word for command in commands for word in command.split() if word.endswith(".py")}
        given = f"--config recipes/{path.name}"
        assert commands and all(given in command for command in commands)
    lines = script.read_text().splitlines()
    assert "    run_script(__file__, reward=" in script.read_text() and len(lines) < 15


def test_every_recipe_with_vllm_truncates_by_token():
    recipes = {path.name: yaml.safe_load(path.read_text()) for path in RECIPES}
    modes = {
        name: recipe["vllm_importance_sampling_mode"] for name, recipe in recipes.items() if recipe.get("use_vllm")
    }
    assert len(modes) > 3 and set(modes.values()) == {"token_truncate"}


@pytest.mark.parametrize("path", ACCELERATE_CONFIGS, ids=lambda path: path.name)
def test_every_accelerate_config_loads(path):
    config = load_config_from_file(str(path))
    stages = {"zero2": 2, "zero3": 3, "zero3_multinode": 3}
    assert getattr(config, "deepspeed_config", {}).get("zero_stage") == stages.get(path.stem)
    processes = {"cpu": 1, "fsdp2": 8, "ddp": 8, "zero2": 8, "zero3": 8, "zero3_multinode": 32}
    assert config.num_processes == processes[path.stem]


def test_annealing_dapo_is_dapo_with_a_lower_clip():
    path = ROOT / "recipes" / "dapo32b_anneal.yaml"
    training = RecipeParser().parse(["--config", str(path), *CPU]).training
    assert training.build_parts() is None and training.method == "dapo"  # nothing controls
    assert (training.epsilon, training.epsilon_high, training.max_completion_length) == (0.2, 0.2, 20_480)
    assert (training.dynamic_sampling_tries, training.overlong_cache, training.loss_type) == (10, 4096, "dapo")


@pytest.mark.parametrize("method", ["es", "es_pid"])
def test_the_papers_recipe(method):
    own = [] if method == "es_pid" else ["--method", method]
    training = RecipeParser().parse(["--config", str(ROOT / "recipes" / "qwen7b_es.yaml"), *CPU, *own]).training
    schedule, controller, (actuator,) = training.build_parts()
    assert training.method == method and (schedule.target, schedule.ratio, schedule.onset) == (0.4, 0.1, 0.9)
    if method == "es":
        assert (controller.delta, controller.window, actuator.low, actuator.high) == (0.005, 5, 0.10, 0.40)
    assert (training.epsilon, training.epsilon_high, training.beta, training.temperature) == (0.2, 0.28, 0.0, 1.0)
    assert training.vllm_importance_sampling_mode == "token_truncate" and not training.push_to_hub
