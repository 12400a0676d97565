"""`plan` of the shipped recipes: what it says, and what it refuses in one line."""

import json

import pytest
from launching import ROOT
from recipe_files import CPU, ZERO3, assert_plan_refuses

from es_trl.__main__ import main as cli


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
        (["--method", "es", "--steps_per_generation", "8"], "clip_high has no authority with 1 update per rollout"),
        (["--method", "es", "--loss_type", "vespo"], "no authority with loss_type='vespo'"),
        (["--entropy_schedule.ratio", "2"], "`ratio` must be a finite number >= 0 and <= 1, got 2"),
        (["--entropy_actuator.low", "2"], "set `low` below `high`"),
        (["--use_adaptive_entropy", "true"], "must be false when another controller moves the entropy"),
        (["--num_processes", "0"], "--num_processes must be 1 or more, got 0"),
        (["--lerning_rate", "1"], "did you mean 'learning_rate'"),
        (["--entropy_schedule.target"], "the option --entropy_schedule.target has no value"),
        (["--num_process", "2"], "unknown option --num_process"),
        (["--dataset_name", "/tmp"], "the dataset /tmp is a folder"),
        (["--model_name_or_path", str(ROOT / "tests")], "a folder without a config.json"),
    ],
)
def test_plan_refuses_in_one_line(options, message, capsys):
    assert_plan_refuses("qwen7b_es.yaml", options, message, capsys)


def test_plan_counts_a_local_file_and_warns(tmp_path, capsys):
    problems = tmp_path / "problems.jsonl"
    problems.write_text("".join(json.dumps({"prompt": f"{i}", "solution": "1"}) + "\n" for i in range(100)))
    options = ["--dataset_name", str(problems), "--max_steps", "-1", "--num_train_epochs", "2", "--save_steps", "10",
               "--method", "es", "--vllm_importance_sampling_mode", "sequence_mask", *CPU]  # fmt: skip
    assert cli(["plan", str(ROOT / "recipes" / "qwen7b_es.yaml"), *options]) == 0
    plan = capsys.readouterr().out
    # 100 prompts fill one rollout of 64 an epoch
    assert "rollouts in the run                       2" in plan
    for warning in ("the anneal phase has only 1 of 2 rollouts", "control by at most 0.01",
                    "long completions are cut or masked: set it to token_truncate"):  # fmt: skip
        assert warning in plan
    assert cli(["plan", str(ROOT / "recipes" / "qwen7b_es.yaml"), *options, "--num_processes", "8"]) == 2
    assert "train_dataset has 100 prompts but one rollout takes 512" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("controller", "actuator", "warning"),
    [
        (
            "{kind: sign_step, delta: 0.25}",
            "entropy_bonus",
            "sign_step crosses the actuator's range of 2 in only 8 rollouts: lower delta",
        ),
        (
            "pid",
            '["clip_high", "entropy_bonus"]',
            "the actuators of the chain have different units",
        ),
        ("self_tuned_pid", '["clip_high", "entropy_bonus"]', None),
    ],
)
def test_plan_warns_of_gains_in_the_wrong_unit(controller, actuator, warning, capsys):
    options = ["--entropy_controller", controller, "--entropy_actuator", actuator]
    assert cli(["plan", str(ROOT / "recipes" / "countdown_es.yaml"), *options]) == 0
    plan = capsys.readouterr().out
    assert warning in plan if warning else "warning" not in plan
