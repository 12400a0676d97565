"""FlexEC's clip by the probability of a token: by hand, by the paper's bounds, and as TRL's loss reads it."""

import math
from dataclasses import replace

import pytest
import torch
from lab_runs import without_seconds
from method_runs import PLAIN
from tensors import batch_of

from es_trl.actuators.actuation import Actuation
from es_trl.actuators.flex_clip import FlexClipActuator


def offsets(control, probabilities, clip=(0.2, 0.2), **options):
    batch = replace(batch_of([1.0], logps=[[math.log(p) for p in probabilities]]), clip=clip)
    return FlexClipActuator(**options).clip(batch, {"flex_clip": control})


@pytest.mark.parametrize(
    ("control", "low", "high"),
    [
        # probabilities 0.2 and 1: 0.5 - 0.25 p is 0.45 and 0.25, 0.3 - 0.13 p is 0.274 and 0.17
        (1.0, [0.2, 0.2], [0.45, 0.25]),
        (0.5, [0.2, 0.2], [0.325, 0.225]),
        (-1.0, [0.274, 0.17], [0.2, 0.2]),
        (-0.5, [0.237, 0.185], [0.2, 0.2]),
    ],
)
def test_offsets_by_hand(control, low, high):
    own_low, own_high = offsets(control, [0.2, 1.0])
    assert own_low[0].tolist() == pytest.approx(low) and own_high[0].tolist() == pytest.approx(high)


def test_the_other_offset_is_the_configured_one_and_both_are_at_0():
    assert offsets(0.0, [0.5], clip=(0.2, 0.28)) == (0.2, 0.28)
    low, high = offsets(-1.0, [0.5], clip=(0.2, 0.28), keeps_upper=True)
    assert low.item() == pytest.approx(0.235) and high.item() == pytest.approx(0.375)
    low, high = offsets(0.5, [0.5], clip=(0.1, 0.275), keeps_upper=True)
    assert low.item() == pytest.approx(0.1) and high.item() == pytest.approx(0.325)


@pytest.mark.parametrize("q", [0.01, 0.3, 0.8, 0.99])
def test_the_bounds_in_terms_of_the_old_probability(q):
    # r <= 1 + 0.5 - 0.25 r q means r <= 1.5 / (1 + 0.25 q), and r >= 1 - 0.3 + 0.13 r q means r >= 0.7 / (1 - 0.13 q)
    upper, lower = 1.5 / (1.0 + 0.25 * q), 0.7 / (1.0 - 0.13 * q)
    for ratio in (upper - 1e-4, upper + 1e-4, lower - 1e-4, lower + 1e-4):
        (high,) = offsets(1.0, [ratio * q])[1].flatten().tolist()
        (low,) = offsets(-1.0, [ratio * q])[0].flatten().tolist()
        assert (ratio > 1.0 + high) == (ratio > upper) and (ratio < 1.0 - low) == (ratio < lower)


def masked_gradient(advantage, ratio, p, control):
    """The gradient of one token's objective over its ratio, as the paper's bounds say in words."""
    upper = 0.2 if control <= 0.0 else (1.0 - control) * 0.2 + control * (-0.25 * p + 0.5)
    lower = 0.2 if control >= 0.0 else (1.0 + control) * 0.2 - control * (-0.13 * p + 0.3)
    if advantage > 0.0 and ratio > 1.0 + upper:
        return 0.0
    if advantage < 0.0 and ratio < 1.0 - lower:
        return 0.0
    return advantage


@pytest.mark.parametrize("control", [1.0, 0.3, 0.0, -0.6, -1.0])
def test_the_gradient_is_that_of_the_paper(control):
    generator = torch.Generator().manual_seed(1)
    logps = -torch.rand(6, 20, generator=generator, dtype=torch.float64) * 3.0 - 0.5
    old_logps = logps - 0.4 * torch.randn(6, 20, generator=generator, dtype=torch.float64)
    advantages = torch.tensor([1.3, -0.7, 0.6, -1.0, 0.4, -2.0], dtype=torch.float64)
    batch = replace(batch_of([0.0] * 6), logps=logps.requires_grad_(), old_logps=old_logps, clip=(0.2, 0.2))
    low, high = Actuation((FlexClipActuator(),), {"flex_clip": control}).clip(batch)
    ratios = (logps - old_logps).exp()
    clipped = torch.clamp(ratios, 1 - low, 1 + high)  # TRL's lines
    objective = torch.min(ratios * advantages[:, None], clipped * advantages[:, None]).sum()
    (found,) = torch.autograd.grad(objective, ratios)
    expected = [
        [masked_gradient(a, r, math.exp(logp), control) for r, logp in zip(row, logp_row, strict=True)]
        for a, row, logp_row in zip(advantages.tolist(), ratios.tolist(), logps.tolist(), strict=True)
    ]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))
    assert 5 < (found == 0.0).sum() < 60


def test_the_pattern_in_a_run_with_its_clip_fractions(lab_trainer):
    run = {"method": "flexec", "max_steps": 20, "save_strategy": "steps", "save_steps": 6, **PLAIN}
    whole = lab_trainer(**run)
    whole.train()
    records = whole.history.records
    assert [record["control"] for record in records] == [1.0, 0.5, 0.0, -0.5, 0.0]
    assert [record["settings"] for record in records[:2]] == [{"flex_clip": 1.0}, {"flex_clip": 0.5}]
    assert {record["target"] for record in records} == {None}
    assert max(record["clip_high_fraction"] for record in records) > 0.0
    assert (whole.epsilon_low, whole.epsilon_high) == (0.2, 0.2)  # tensors only within a loss
    resumed = lab_trainer(**run)  # in the middle of the updates of the second rollout
    resumed.train(resume_from_checkpoint=f"{whole.args.output_dir}/checkpoint-6")
    assert without_seconds(resumed.history.records) == without_seconds(records)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps_per_generation": 1, "per_device_train_batch_size": 16}, "flex_clip has no authority with 1 update"),
        ({"loss_type": "sapo"}, "flex_clip has no authority with loss_type='sapo'"),
        ({"importance_sampling_level": "sequence"}, "`importance_sampling_level` must be `token` with flex_clip"),
        ({"entropy_controller": "hysteresis"}, "`entropy_schedule` is not, so the loop has no target"),
        ({"entropy_controller": "pid"}, "`entropy_controller` must be of kind pattern for method flexec, got 'pid'"),
        ({"entropy_actuator": {"high": 1.5}}, "the bounds of flex_clip must be from -1 to 1, got -1.0 and 1.5"),
    ],
)
def test_what_is_refused(changes, message, lab_trainer):
    with pytest.raises(ValueError, match=message):
        lab_trainer(method="flexec", **PLAIN, **changes)
