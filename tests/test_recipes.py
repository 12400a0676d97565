import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from accelerate.commands.config.config_args import load_config_from_file
from launching import ROOT, environment

from es_trl.cli import main as cli
from es_trl.data import DataArguments
from es_trl.lab import countdown_dataset
from es_trl.lab.prompts import load_countdown
from es_trl.planning.model_shape import SHAPES
from es_trl.recipe import RecipeParser, parse_recipe


RECIPES = sorted((ROOT / "recipes").glob("*.yaml"))
ACCELERATE_CONFIGS = sorted((ROOT / "accelerate_configs").glob("*.yaml"))
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


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.name)
def test_every_recipe_parses_and_plans(path, capsys):
    recipe = RecipeParser().parse(["--config", str(path), *CPU])
    parts = (recipe.data, recipe.training, recipe.model)
    known = {name for part in parts for name in part.__dataclass_fields__}
    assert set(yaml.safe_load(path.read_text())) <= known
    on_cpu = recipe_of_cpu(path)
    for plan in [plan_options(command) for command in header_commands(path)] or [[str(path)]]:
        assert plan[0] == str(path)
        assert cli(["plan", *plan]) == 0, capsys.readouterr().err
        printed = capsys.readouterr().out
        assert "updates per rollout" in printed and ("estimated and not measured" in printed) != on_cpu
        assert "no memory estimate" not in printed and "warning" not in printed


def recipe_of_cpu(path):
    text = path.read_text()
    assert ("use_cpu: true" in text) != ("80 GB" in text)  # a recipe for GPUs names them
    return "use_cpu: true" in text


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
    scripts = [path.with_suffix(".py")] if path.with_suffix(".py").exists() else [ROOT / "recipes" / "countdown_es.py"]
    assert all(len(script.read_text().splitlines()) < 80 for script in scripts)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.name)
def test_every_recipe_with_vllm_truncates_by_token(path):
    recipe = yaml.safe_load(path.read_text())
    assert not recipe.get("use_vllm") or recipe["vllm_importance_sampling_mode"] == "token_truncate"


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


def test_the_papers_recipe():
    training = RecipeParser().parse(["--config", str(ROOT / "recipes" / "qwen7b_es.yaml"), *CPU]).training
    schedule, controller, (actuator,) = training.build_parts()
    assert (schedule.target, schedule.ratio, schedule.onset) == (0.4, 0.1, 0.9)
    assert (controller.delta, controller.window, actuator.low, actuator.high) == (0.005, 5, 0.10, 0.40)
    assert (training.epsilon, training.epsilon_high, training.beta, training.temperature) == (0.2, 0.28, 0.0, 1.0)
    assert training.vllm_importance_sampling_mode == "token_truncate" and not training.push_to_hub


def test_the_yaml_beside_the_script_is_the_default():
    recipe = parse_recipe(str(ROOT / "recipes" / "countdown_es.py"), ["--max_steps", "16", "--learning_rate=1e-3"])
    assert (recipe.training.max_steps, recipe.training.learning_rate) == (16, 1e-3)
    assert recipe.training.output_dir == "runs/countdown_es"


def test_a_command_line_takes_blocks_away():
    argv = ["--entropy_schedule", "none", "--entropy_controller", "none", "--entropy_actuator", "null"]
    assert parse_recipe(str(ROOT / "recipes" / "countdown_es.py"), argv).training.build_parts() is None


def test_any_field_of_a_block_can_be_overridden():
    argv = ["--entropy_schedule.end", "0.1", "--entropy_schedule.ratio=0.5", "--entropy-actuator.high", "0.6"]
    training = parse_recipe(str(ROOT / "recipes" / "countdown_es.py"), argv).training
    schedule, _, (actuator,) = training.build_parts()
    assert (schedule.end, schedule.ratio, actuator.high) == (0.1, 0.5, 0.6)
    for block in ('{"kind": "constant", "target": 0.25}', "{kind: constant, target: 0.25}"):
        argv = ["--entropy_schedule", block, "--entropy_schedule.relative", "true"]
        schedule = parse_recipe(str(ROOT / "recipes" / "countdown_es.py"), argv).training.build_parts()[0]
        assert (schedule.target, schedule.relative) == (0.25, True)


@pytest.mark.parametrize(
    ("text", "argv", "message"),
    [
        ("learning_rat: 1.0e-6", [], "unknown key 'learning_rat', did you mean 'learning_rate'"),
        ("entropy_scedule: {kind: constant}", [], "unknown key 'entropy_scedule', did you mean 'entropy_schedule'"),
        ("seed: 1", ["--max_step", "5"], "unknown option --max_step, did you mean 'max_steps'"),
        ("seed: 1", ["--entropy_schedule.end"], "option --entropy_schedule.end has no value"),
        ("seed: 1", ["--entropy_schedule", "{kind: "], "the value of --entropy_schedule is not valid YAML"),
        (
            "use_cpu: true",
            ["--entropy_schedule", "constant"],
            "`entropy_schedule` of kind constant needs `target`: set it",
        ),
        ("seed: many", [], "cannot be read: argument --seed: invalid int value: 'many'"),
        ("seed: 1", ["--max_steps", "few"], "cannot be read: argument --max_steps.*: invalid int value: 'few'"),
        ("seed: 1", ["--config"], "--config has no value"),
        ("max_steps: [1]", [], "key 'max_steps' is .1., and cannot be a list: set a single value"),
        ("num_generations: null", [], "`num_generations` is None, and it counts"),
        ("seed: null", [], "key 'seed' is None, and cannot be null: set a single value"),
        ("max_steps: .inf", [], "key 'max_steps' is inf: set a whole number"),
        ("output_dir: {a: 1}", [], "cannot be a mapping"),
        ("entropy_schedule: {}\nuse_cpu: true", [], "a block is a mapping with a `kind`"),
        ("seed: 1", ["--entropy_schedule", "none", "--entropy_schedule.target", "1"], "which is 'none' and no mapping"),
        ("entropy_schedule: [1]", ["--entropy_schedule.target", "1"], "cannot be a list"),
        ("use_cpu: true", ["--entropy_schedule.target", "2024-01-01"], "a block is a mapping with a `kind`"),
        ("- seed", [], "no mapping of keys to values"),
        ("seed: [1", [], "is not valid YAML"),
        ("num_generations: 3\nuse_cpu: true\nbf16: false", [], "so that 3 divides their product"),
    ],
)
def test_bad_recipes_are_refused(text, argv, message, tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        RecipeParser().parse(["--config", str(path), *argv])


def assert_plan_refuses(recipe, options, message, capsys):
    assert cli(["plan", str(ROOT / "recipes" / recipe), *options]) == 1
    printed = capsys.readouterr()
    assert message in printed.err and len(printed.err.splitlines()) == 1 and printed.out == ""


def test_missing_recipe_is_refused():
    with pytest.raises(ValueError, match="does not exist: give --config a YAML file"):
        RecipeParser().parse(["--config", "no/such.yaml"])


def test_plan_of_the_papers_recipe_on_8_gpus(capsys):
    assert cli(["plan", str(ROOT / "recipes" / "qwen7b_es.yaml"), *ZERO3]) == 0
    plan = capsys.readouterr().out
    for line in ("prompts per rollout                       512", "updates per rollout                       16",
                 "rollouts in the run                       300", "annealing from 90%"):  # fmt: skip
        assert line in plan
    assert "warning" not in plan


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--steps_per_generation", "8"], "clip_high has no authority with 1 update a rollout"),
        (["--loss_type", "vespo"], "no authority with loss_type='vespo'"),
        (["--entropy_schedule.ratio", "2"], "the anneal would be longer than the run"),
        (["--entropy_actuator.low", "0.5"], "set `low` below `high`"),
        (["--use_adaptive_entropy", "true"], "two controllers would fight"),
        (["--num_processes", "0"], "--num_processes is 0"),
        (["--lerning_rate", "1"], "did you mean 'learning_rate'"),
        (["--entropy_schedule.target"], "the option --entropy_schedule.target has no value"),
        (["--num_process", "2"], "unknown option --num_process"),
        (["--dataset_name", "/tmp"], "the data set /tmp is a folder"),
    ],
)
def test_plan_refuses_in_one_line(options, message, capsys):
    assert_plan_refuses("qwen7b_es.yaml", options, message, capsys)


def test_plan_counts_a_local_file_and_warns(tmp_path, capsys):
    problems = tmp_path / "problems.jsonl"
    problems.write_text("".join(json.dumps({"prompt": f"{i}", "solution": "1"}) + "\n" for i in range(100)))
    options = ["--dataset_name", str(problems), "--max_steps", "-1", "--num_train_epochs", "2", "--save_steps", "10",
               "--vllm_importance_sampling_mode", "sequence_mask", *CPU]  # fmt: skip
    assert cli(["plan", str(ROOT / "recipes" / "qwen7b_es.yaml"), *options]) == 0
    plan = capsys.readouterr().out
    # 100 prompts fill one rollout of 64 an epoch
    assert "rollouts in the run                       2" in plan
    for warning in ("the anneal has 1 of 2 rollouts", "control by at most 0.01",
                    "drops most long completions: set token_truncate"):  # fmt: skip
        assert warning in plan
    assert cli(["plan", str(ROOT / "recipes" / "qwen7b_es.yaml"), *options, "--num_processes", "8"]) == 1
    assert "train_dataset has 100 prompts and one rollout takes 512" in capsys.readouterr().err


def run_script(*command, cwd):
    settings = environment(HF_HUB_OFFLINE="1")
    return subprocess.run(command, cwd=cwd, env=settings, capture_output=True, text=True, timeout=300)


def test_countdown_recipe_runs_as_people_launch_it(tmp_path):
    launch = ["-m", "accelerate.commands.launch", "--config_file", str(ROOT / "accelerate_configs" / "cpu.yaml")]
    options = ["--max_steps", "16", "--per_device_train_batch_size", "8", "--save_steps", "8"]
    done = run_script(sys.executable, *launch, str(ROOT / "recipes" / "countdown_es.py"), *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "rollouts in the run                       2" in done.stdout
    run = tmp_path / "runs" / "countdown_es"
    assert len((run / "es_history.jsonl").read_text().splitlines()) == 2
    for file in ("es_curves.png", "README.md", "model.safetensors", "checkpoint-16/es_state.json"):
        assert (run / file).exists(), file
    (run / "es_curves.png").unlink()
    assert cli(["plot", str(run)]) == 0 and (run / "es_curves.png").exists()


def test_countdown_recipe_takes_a_local_file_and_folder(tmp_path):
    from es_trl.lab import BASE_MODEL, countdown_dataset

    countdown_dataset(8, seed=5).to_json(tmp_path / "prompts.jsonl")
    options = ["--max_steps", "8", "--per_device_train_batch_size", "8", "--dataset_name", "prompts.jsonl"]
    options += ["--model_name_or_path", BASE_MODEL, "--save_strategy", "no", "--output_dir", "run"]
    done = run_script(sys.executable, str(ROOT / "recipes" / "countdown_es.py"), *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len((tmp_path / "run" / "es_history.jsonl").read_text().splitlines()) == 1


@pytest.fixture(scope="session")
def tiny_qwen2(tmp_path_factory):
    """A random Qwen2 on disk with a byte-level tokenizer and a chat template."""
    import torch
    from tokenizers import Tokenizer, decoders, models
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

    vocabulary = {token: i for i, token in enumerate(["<pad>", "<eos>", *sorted(ByteLevel.alphabet())])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer, tokenizer.decoder = ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>")
    tokenizer.chat_template = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}assistant: "
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=len(tokenizer), hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, max_position_embeddings=2048, pad_token_id=0, eos_token_id=1,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("qwen2")
    Qwen2ForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def run_tiny(tiny_qwen2, tmp_path, *more):
    """Two updates of the 7B script on a CPU, with the tiny model and eight problems."""
    problems = [{"question": f"What is {i} + {i}?", "answer": f"It is {i} + {i}.\n#### {2 * i}"} for i in range(8)]
    (tmp_path / "problems.jsonl").write_text("".join(json.dumps(row) + "\n" for row in problems))
    options = ["--model_name_or_path", str(tiny_qwen2), "--dtype", "float32", "--dataset_name", "problems.jsonl"]
    options += ["--prompt_column", "question", "--answer_column", "answer", "--use_vllm", "false", "--bf16", "false"]
    options += ["--use_cpu", "true", "--per_device_train_batch_size", "4", "--gradient_accumulation_steps", "2"]
    options += ["--steps_per_generation", "4", "--max_completion_length", "16", "--max_steps", "2", "--save_steps", "2"]
    done = run_script(sys.executable, str(ROOT / "recipes" / "qwen7b_es.py"), *options, *more, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_qwen7b_recipe_makes_two_updates(tiny_qwen2, tmp_path):
    run_tiny(tiny_qwen2, tmp_path)
    run = tmp_path / "runs" / "qwen7b_es"
    (record,) = [json.loads(line) for line in (run / "es_history.jsonl").read_text().splitlines()]
    assert record["settings"] == {"epsilon_high": 0.28} and record["target"] == 0.4
    # a random policy over 258 tokens is nearly uniform, and answers nothing
    assert record["entropy"] == pytest.approx(5.55, abs=0.05) and record["reward"] == -1.0
    assert (run / "checkpoint-2" / "es_state.json").exists() and "ES-GRPO" in (run / "README.md").read_text()


def test_the_lora_recipe_trains_its_adapter(tiny_qwen2, tmp_path):
    run_tiny(tiny_qwen2, tmp_path, "--config", str(ROOT / "recipes" / "qwen7b_lora.yaml"))
    run = tmp_path / "runs" / "qwen7b_lora"
    adapter = json.loads((run / "adapter_config.json").read_text())
    assert (adapter["r"], adapter["lora_alpha"], adapter["lora_dropout"]) == (32, 64, 0.0)
    maps = {name.rpartition(".")[2] for name in adapter["target_modules"]}
    assert maps == set(SHAPES["Qwen/Qwen2.5-7B"].linears)  # what the estimate counts
    assert len((run / "es_history.jsonl").read_text().splitlines()) == 1


def test_plan_of_the_papers_curriculum(capsys):
    assert cli(["plan", str(ROOT / "recipes" / "qwen7b_curriculum.yaml"), *ZERO3]) == 0
    plan = capsys.readouterr().out.splitlines()
    first, second = (line.split() for line in plan if line.startswith(("0 ", "1 ")))
    assert first == ["0", "0", "to", "269", "train", *"512 x 8 4096 1 16,777,216 1x 69%".split()]
    assert second == [*"1 270 to 299 90% bigmath + 10% aime 128 x 32 16384 1 67,108,864 4x 31%".split()]
    assert not any("warning" in line for line in plan)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--curriculum", "[{start: onst}]"], "`curriculum` of entry 1: `start` is 'onst'"),
        (
            ["--curriculum", "[{strat: onset}]"],
            "`curriculum` of entry 1 has no argument 'strat', did you mean 'start'",
        ),
        (["--curriculum", "[{data: hard}]"], "`curriculum` of entry 1 needs `start`"),
        (["--curriculum", "{start: onset}"], "it lists stages"),
        (["--curriculum", "[onset]"], "`curriculum` has 'onset' for entry 1"),
        (["--curriculum", "[{start: 0.5, data: harder}]"], "the data sets are train, hard"),
        (["--curriculum", "[{start: 0.5, num_generations: 24}]"], "set a divisor of 512, or hold: prompts"),
        (["--entropy_schedule.ratio", "0"], "would stay at 0.3 and never reach `end`"),
        (["--entropy_schedule", "{kind: constant, target: 0.4}"], "the entropy schedule has none in 160 rollouts"),
        (["--max_steps", "-1"], "set max_steps"),
        (["--curriculum", "none"], "is a dict of data sets (train, hard) and nothing says which to take"),
        (["--datasets", "{hard: {dataset_filter: [3]}}"], "`dataset_filter` must be a mapping, got [3]"),
        (["--overlong_cache", "14"], "overlong_cache is 14 and a completion has at most 12 tokens"),
        (["--use_vllm", "true", "--vllm_max_model_length", "16"], "set it to 16 plus the longest prompt"),
    ],
)
def test_plan_refuses_impossible_stages(options, message, capsys):
    assert_plan_refuses("countdown_curriculum.yaml", options, message, capsys)


def test_plan_sees_the_local_files_of_every_stage(tmp_path, capsys):
    problems = tmp_path / "problems.jsonl"
    rows = [{"prompt": f"{i}", "solution": "1", "level": i % 6} for i in range(120)]
    problems.write_text("".join(json.dumps(row) + "\n" for row in rows))
    plan = ["plan", str(ROOT / "recipes" / "qwen7b_curriculum.yaml"), "--dataset_name", str(problems)]
    plan += ["--prompt_column", "prompt", "--max_steps", "160", "--curriculum", "[{start: 0.5, data: hard}]", *CPU]
    for levels, refused in (([0, 5], False), ([3, 5], True)):
        assert cli([*plan, "--datasets", f"{{hard: {{dataset_filter: {{level: {levels}}}}}}}"]) == refused
        said = capsys.readouterr().err
        assert ("stage 1 takes up to 64 prompts of 'hard' for one rollout, and it has 60" in said) == refused


@pytest.mark.parametrize(
    ("options", "warning"),
    [
        (["--entropy_schedule", "{kind: cosine, start: 0.4, end: 0.1}"], "anneals from the first rollout on, so the"),
        (["--curriculum", "none", "--datasets", "none"], "rollouts in the run                       160"),
        (["--dynamic_sampling_tries", "3"], "dynamic sampling: up to 3 more generations a rollout"),
        (["--loss_type", "dr_grpo"], "dr_grpo divides by max_completion_length: by 12 in every stage"),
        (["--curriculum", "[{start: 0.5, num_generations: 16}]"], "no stage takes prompts from hard"),
    ],
)
def test_plan_says(options, warning, capsys):
    assert cli(["plan", str(ROOT / "recipes" / "countdown_curriculum.yaml"), *options]) == 0
    assert warning in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "bounds", "message"),
    [
        ("countdown:3,four", None, "behind 'countdown:' stand counts of numbers from 2 to 6: set countdown:3"),
        ("countdown:3", {"count": [4, 4]}, "keeps no row of countdown:3: 'count' goes from 3 to 3 there"),
    ],
)
def test_generated_prompts_that_are_none_are_refused(name, bounds, message):
    with pytest.raises(ValueError, match=message):
        load_countdown(DataArguments(name, dataset_filter=bounds), seed=0)


def test_generated_prompts_by_difficulty():
    rows = load_countdown(DataArguments("countdown:3,4", dataset_filter={"count": [4, 4]}), seed=0)
    assert {len(numbers) for numbers in rows["numbers"]} == {4} and 9_000 < len(rows) < 11_000
    assert load_countdown(DataArguments(), seed=0)["prompt"] == countdown_dataset(20_000, seed=0)["prompt"]


@pytest.mark.parametrize(
    ("controller", "actuator", "warning"),
    [
        (
            "sign_step",
            "entropy_bonus",
            "sign_step crosses the actuator's whole range of 0.04 in 8 rollouts: lower delta",
        ),
        ("pid", '["clip_high", "entropy_bonus"]', "one set of gains serves them all: set the controller to self_tuned"),
        ("self_tuned_pid", '["clip_high", "entropy_bonus"]', None),
    ],
)
def test_plan_warns_of_gains_in_the_wrong_unit(controller, actuator, warning, capsys):
    options = ["--entropy_controller", controller, "--entropy_actuator", actuator]
    assert cli(["plan", str(ROOT / "recipes" / "countdown_es.yaml"), *options]) == 0
    plan = capsys.readouterr().out
    assert warning in plan if warning else "warning" not in plan
