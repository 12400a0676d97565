from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_trl.control.schedules import onset_rollout
from es_trl.control.shapes import StableAnnealSchedule
from es_trl.curriculum.planned import plan_stages, stage_of
from es_trl.curriculum.stages import Stage
from es_trl.trainer.startup import stage_table


# 2 processes x 4 completions x 16 micro-batches: 128 completions of 16 prompts
ARGS = {
    "world_size": 2,
    "per_device_train_batch_size": 4,
    "steps_per_generation": 16,
    "gradient_accumulation_steps": 2,
    "num_iterations": 1,
    "num_generations": 8,
    "max_completion_length": 4096,
    "overlong_cache": 0,
    "early_generations": 0,
    "temperature": 1.0,
    "generation_kwargs": None,
    "max_steps": 800,
    "use_vllm": False,
    "vllm_max_model_length": None,
}


def plan(*stages, rollouts=100, onset=90, names=("train", "hard"), **changes):
    return plan_stages(stages, SimpleNamespace(**{**ARGS, **changes}), rollouts, onset, names)


def test_without_stages_the_run_is_one():
    (only,) = plan()
    assert (only.first, only.data, only.prompts, only.num_generations, only.completions) == (
        0,
        {"train": 1.0},
        16,
        8,
        128,
    )
    assert (only.parts, only.tokens) == (1, 128 * 4096)


def test_the_papers_switch():
    before, after = plan(Stage("onset", data="hard", num_generations=32, max_completion_length=16384))
    assert (before.first, before.prompts, before.num_generations, before.max_completion_length) == (0, 16, 8, 4096)
    assert (after.first, after.prompts, after.num_generations, after.max_completion_length) == (90, 4, 32, 16384)
    assert (after.data, after.completions, after.parts) == ({"hard": 1.0}, 128, 1)
    assert after.tokens == 4 * before.tokens
    assert after.changes_from(before) == (
        "data train -> hard, prompts 16 -> 4, num_generations 8 -> 32, max_completion_length 4096 -> 16384"
    )


def test_hold_prompts_multiplies_the_parts():
    _, after = plan(Stage(0.5, num_generations=32, hold="prompts"))
    assert (after.prompts, after.completions, after.parts) == (16, 512, 4)
    # 1.5 times as many completions: 6 in a micro-batch, which two passes of 3 make
    _, after = plan(Stage(0.5, num_generations=12, hold="prompts"))
    assert (after.completions, after.parts) == (192, 2)
    # fewer completions: one pass, and it is smaller
    _, after = plan(Stage(0.5, num_generations=4, hold="prompts"))
    assert (after.completions, after.parts) == (64, 1)


def test_hold_is_counted_from_the_stage_before():
    _, second, third = plan(Stage(0.2, num_generations=32, hold="prompts"), Stage(0.6, num_generations=8))
    assert (second.completions, third.prompts, third.completions, third.parts) == (512, 64, 512, 4)


def test_a_stage_keeps_what_it_does_not_name():
    _, second, third = plan(
        Stage(0.2, data={"hard": 3, "train": 1}, overlong_cache=512), Stage(0.6, num_generations=16)
    )
    assert second.data == third.data == {"hard": 0.75, "train": 0.25}
    assert (second.num_generations, second.max_completion_length, third.overlong_cache) == (8, 4096, 512)


def test_a_stage_at_the_start_replaces_the_configuration():
    first, second = plan(Stage(0.0, data="hard", num_generations=4), Stage(0.5, data="train"))
    assert (first.index, first.first, first.data, first.num_generations) == (0, 0, {"hard": 1.0}, 4)
    assert (second.index, second.first, second.num_generations) == (1, 50, 4)


@pytest.mark.parametrize("rollouts", [2, 3, 10, 97, 300])
def test_onset_is_that_of_the_schedule(rollouts):
    schedule = StableAnnealSchedule(0.4, 0.05, ratio=0.5)
    onset = onset_rollout(schedule, rollouts)
    planned = plan(Stage("onset", data="hard"), rollouts=rollouts, onset=onset)
    by_share = plan(Stage(0.5, data="hard"), rollouts=rollouts, onset=None)
    assert planned == by_share and planned[1].first == onset


@given(st.lists(st.floats(0.001, 1.0), min_size=1, max_size=4, unique=True), st.integers(20, 400))
def test_every_rollout_has_the_last_stage_that_has_begun(starts, rollouts):
    starts = sorted(starts)
    try:
        planned = plan(*(Stage(start) for start in starts), rollouts=rollouts)
    except ValueError as error:
        assert "must start after rollout" in str(error)
        return
    for rollout in range(rollouts):
        begun = [start for start in starts if start <= rollout / (rollouts - 1)]
        assert stage_of(planned, rollout).index == len(begun) - (len(starts) + 1 - len(planned))


def test_table():
    planned = plan(Stage("onset", data={"hard": 3, "train": 1}, num_generations=32, max_completion_length=16384))
    lines = stage_table(planned, 100).splitlines()
    assert lines[1].split() == ["0", "0", "to", "89", "train", "16", "x", "8", "4096", "1", "1", "524,288", "1x", "69%"]
    assert lines[2].split()[:4] == ["1", "90", "to", "99"]
    # 10 rollouts of four times the tokens, of 90 + 40 in all
    assert lines[2].split()[-3:] == ["2,097,152", "4x", "31%"] and "75% hard + 25% train" in lines[2]


@pytest.mark.parametrize(
    ("stage", "changes", "message"),
    [
        (Stage("onset"), {"onset": None}, "entry 1 .* starts at onset, which no rollout from 0 to 99"),
        (Stage(0.5, num_generations=7), {}, "divide the 128 completions .* got 7: set a divisor of 128, or hold"),
        (Stage(0.5, num_generations=9, hold="prompts"), {}, "the 144 completions .* set num_generations"),
        (Stage(0.5, data="harder"), {}, "stage 1 takes its prompts from 'harder' but the datasets are train, hard"),
        (Stage(0.5), {"rollouts": None}, "set max_steps"),
        (Stage(0.5, num_generations=4), {"early_generations": 4}, "less than the 4 completions .* in stage 1, got 4"),
        (Stage(0.5, overlong_cache=5000), {}, "stage 1 must be at most the 4096 .* got 5000: set for example 1024"),
        (Stage(0.5, max_completion_length=16384), {"use_vllm": True, "vllm_max_model_length": 6144},
         "vllm_max_model_length must be above 16384, .* got 6144: .* for example 18432"),
    ],
)  # fmt: skip
def test_impossible_plans_are_refused(stage, changes, message):
    with pytest.raises(ValueError, match=message):
        plan(stage, **changes)


def test_a_run_of_one_rollout_has_no_later_stage():
    with pytest.raises(ValueError, match="starts at 0.5, which no rollout from 0 to 0 reaches: raise max_steps"):
        plan(Stage(0.5), rollouts=1)


def test_a_length_that_generation_kwargs_fix_is_refused():
    with pytest.raises(ValueError, match="generation_kwargs sets max_new_tokens for the whole run"):
        plan(Stage(0.5, max_completion_length=16384), generation_kwargs={"max_new_tokens": 100})


def test_stages_without_a_rollout_are_refused():
    with pytest.raises(
        ValueError,
        match="entry 2 .* must start after rollout 50 of 100, where the entry before it starts, got rollout 50",
    ):
        plan(Stage(0.5), Stage(0.5))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"start": "onsett"}, "`start` must be onset or a number from 0 to 1, got 'onsett'"),
        ({"start": 1.5}, "`start` must be .* got 1.5"),
        ({"start": 0.5, "num_generations": 1}, "`num_generations` must be a whole number >= 2, got 1"),
        ({"start": 0.5, "max_completion_length": 0}, "`max_completion_length` must be a whole number >= 1, got 0"),
        ({"start": 0.5, "hold": "tokens"}, "`hold` must be `completions` or `prompts`, got 'tokens'"),
        ({"start": 0.5, "data": {}}, "`data` must be the name of a dataset, or names with weights, got {}"),
        ({"start": 0.5, "data": {"easy": 0}}, "`data.easy` must be a finite number > 0, got 0"),
    ],
)
def test_bad_stages_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Stage(**arguments)
