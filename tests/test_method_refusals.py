"""What the methods of 2026 refuse, each in one sentence that says what to set."""

import pytest
import torch
from loop_args import Args

from es_trl import ClipHighActuator, ESGRPOConfig, FlexClipActuator, PassAtKActuator
from es_trl.actuators.pass_at_k import advantages_by_k
from es_trl.config.truncated_sampling import truncation_warning
from es_trl.control.checks import check_per_update
from es_trl.control.open_loop import PatternController


def config(**fields):
    sizes = {"per_device_train_batch_size": 8, "num_generations": 8, "steps_per_generation": 4}
    return ESGRPOConfig("unused", use_cpu=True, bf16=False, **{**sizes, **fields})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"method": "skywork", "entropy_coef_delta": float("nan")},
            "`entropy_coef_delta` must be a finite number",
        ),
        ({"method": "skywork", "entropy_coef_max": -1.0}, "`entropy_coef_max` must be a finite number >= 0, got -1.0"),
        (
            {"entropy_coef_min": 0.2, "entropy_coef_max": 0.1},
            "`entropy_coef_min` must be at most entropy_coef_max",
        ),
        ({"mask_uniform_prompts": "no"}, "`mask_uniform_prompts` must be"),
        ({"resume_with_changes": "no"}, "`resume_with_changes` must be"),
    ],
)
def test_fields_out_of_their_range(fields, message):
    with pytest.raises(ValueError, match=message):
        config(**fields)


@pytest.mark.parametrize(
    ("actuator", "fields", "message"),
    [
        (
            ClipHighActuator(1.5, 4.0),
            {"loss_type": "cispo", "delta": 50.0, "epsilon_high": 1.5},
            "`delta` must be unset",
        ),
        (FlexClipActuator(), {"delta": 1.2}, "`delta` must be at least 1.5 with flex_clip, got 1.2"),
        (PassAtKActuator(), {"multi_objective_aggregation": "normalize_then_sum"}, "must be sum_then_normalize"),
    ],
)
def test_actuators_that_could_not_act_as_published(actuator, fields, message):
    args = Args()
    for name, value in {"steps_per_generation": 4, "loss_type": "dapo", **fields}.items():
        setattr(args, name, value)
    with pytest.raises(ValueError, match=message):
        actuator.check(args)


def test_a_pattern_does_not_move_per_update():
    with pytest.raises(ValueError, match="`entropy_sensor` must be rollout with PatternController"):
        check_per_update(PatternController(), [FlexClipActuator()])


@pytest.mark.parametrize(
    "given", [{"top_p": "0.9"}, {"typical_p": 0.5}, {"epsilon_cutoff": 0.01}, {"do_sample": False}]
)
def test_every_truncation_of_generation_kwargs_is_named(given):
    ((name, value),) = given.items()
    assert truncation_warning(config(generation_kwargs=given)).startswith(f"{name} {value} samples from a part")


def test_groups_of_all_rewarded_completions_are_one_smaller():
    nan = float("nan")
    by_k = advantages_by_k(torch.tensor([[1.0, 0.0, 0.0, 0.0, nan, nan, nan, nan]]), True)
    assert torch.equal(by_k[:, 3], by_k[:, 2]) and by_k[0, 2] == pytest.approx(3**-0.5) and not by_k[4:].any()
