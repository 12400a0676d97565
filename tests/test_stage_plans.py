"""`plan` of a curriculum."""

import json

import pytest
from launching import ROOT
from recipe_files import CPU, ZERO3, assert_plan_refuses

from es_trl.__main__ import main as cli


def test_plan_of_the_papers_curriculum(capsys):
    assert cli(["plan", str(ROOT / "recipes" / "qwen7b_curriculum.yaml"), *ZERO3]) == 0
    plan = capsys.readouterr().out.splitlines()
    first, second = (line.split() for line in plan if line.startswith(("0 ", "1 ")))
    assert first == ["0", "0", "to", "269", "train", *"512 x 8 4096 1 1 16,777,216 1x 69%".split()]
    assert second == [*"1 270 to 299 90% bigmath + 10% aime 128 x 32 16384 1 1 67,108,864 4x 31%".split()]
    assert not any("warning" in line for line in plan)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--curriculum", "[{start: onst}]"], "`curriculum` of entry 1: `start` must be onset or a number"),
        (
            ["--curriculum", "[{strat: onset}]"],
            "`curriculum` of entry 1 has no argument 'strat', did you mean 'start'",
        ),
        (["--curriculum", "[{data: hard}]"], "`curriculum` of entry 1 needs `start`"),
        (["--curriculum", "{start: onset}"], "`curriculum` must be a list of stages, got {'start': 'onset'}"),
        (["--curriculum", "[onset]"], "`curriculum` must have a mapping for entry 1, got 'onset'"),
        (["--curriculum", "[{start: 0.5, data: harder}]"], "the datasets are train, hard"),
        (["--curriculum", "[{start: 0.5, num_generations: 24}]"], "set a divisor of 512, or hold: prompts"),
        (["--entropy_schedule.ratio", "0"], "`ratio` must be > 0 for a target that goes from 0.3"),
        (["--entropy_schedule", "{kind: constant, target: 0.4}"], "at onset, which no rollout from 0 to 159"),
        (["--max_steps", "-1"], "set max_steps"),
        (["--curriculum", "none"], "is a dict of datasets (train, hard) but there is no curriculum: set `curriculum`"),
        (["--datasets", "{hard: {dataset_filter: [3]}}"], "`dataset_filter` must be a mapping, got [3]"),
        (["--overlong_cache", "14"], "overlong_cache must be at most the 12 tokens of a completion, got 14"),
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
    for levels, code in (([0, 5], 0), ([3, 5], 2)):
        assert cli([*plan, "--datasets", f"{{hard: {{dataset_filter: {{level: {levels}}}}}}}"]) == code
        said = capsys.readouterr().err
        assert ("stage 1 takes up to 64 prompts of 'hard' per rollout but this dataset has only 60" in said) == (
            code > 0
        )


@pytest.mark.parametrize(
    ("options", "warning"),
    [
        (
            ["--entropy_schedule", "{kind: cosine, start: 0.4, end: 0.1}"],
            "starts at the onset is the whole run",
        ),
        (["--curriculum", "none", "--datasets", "none"], "rollouts in the run                       160"),
        (["--dynamic_sampling_tries", "3"], "dynamic sampling: up to 3 more generations per rollout"),
        (["--early_generations", "4"], "prompts with a pass rate outside 0.05 to 0.8 are left after 4 completions"),
        (["--loss_type", "dr_grpo"], "dr_grpo divides the loss by the max_completion_length of the first stage (12)"),
        (["--curriculum", "[{start: 0.5, num_generations: 16}]"], "no stage takes prompts from hard"),
    ],
)
def test_plan_says(options, warning, capsys):
    assert cli(["plan", str(ROOT / "recipes" / "countdown_curriculum.yaml"), *options]) == 0
    assert warning in capsys.readouterr().out
