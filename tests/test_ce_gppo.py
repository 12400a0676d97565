"""CE-GPPO's bounded gradients: by hand, against the published objective, and with PPO's as a special case."""

import math
from dataclasses import replace

import pytest
import torch
from method_runs import PLAIN
from tensors import batch_of

from es_trl.actuators.actuation import Actuation
from es_trl.actuators.ce_gppo import CEGPPOActuator
from es_trl.control.base import ActuatorArgs


def settings_of(beta1, beta2):
    return {"ce_gppo_beta1": beta1, "ce_gppo_beta2": beta2}


def test_advantages_by_hand():
    # ratios of 0.5 and 1.6, each with both signs
    batch = batch_of([-1.0, 1.0], logps=[[0.0, 0.0]] * 2, old_logps=[[math.log(2.0), -math.log(1.6)]] * 2)
    batch = replace(batch, clip=(0.2, 0.28))
    found = CEGPPOActuator().advantages(batch, settings_of(0.5, 1.0))
    # -0.5 * 0.8 / 0.5 below the clip, 1.28 / 1.6 above it, and PPO's elsewhere
    torch.testing.assert_close(found, torch.tensor([[-0.8, -1.0], [1.0, 0.8]]))
    assert batch.inputs["advantages"].tolist() == [-1.0, 1.0]


def published(beta1, beta2, advantage, ratio, low, high):
    """The objective of one token in the paper's words; `ratio` has a gradient, and `held` is the same without."""
    held = ratio.detach()
    if advantage < 0.0 and held < 1.0 - low:
        return beta1 * (1.0 - low) / held * ratio * advantage
    if advantage > 0.0 and held > 1.0 + high:
        return beta2 * (1.0 + high) / held * ratio * advantage
    return torch.min(ratio * advantage, ratio.clamp(1.0 - low, 1.0 + high) * advantage)


def random_batch(clip=(0.2, 0.28)):
    generator = torch.Generator().manual_seed(2)
    logps = -torch.rand(4, 12, generator=generator, dtype=torch.float64) * 3.0
    old_logps = logps - 0.5 * torch.randn(4, 12, generator=generator, dtype=torch.float64)
    batch = replace(batch_of([0.0] * 4), logps=logps.requires_grad_(), old_logps=old_logps, clip=clip)
    batch.inputs["advantages"] = torch.tensor([1.3, -0.7, 0.6, -1.2], dtype=torch.float64)
    return batch


def gradient(batch, beta1, beta2):
    """The gradient of TRL's clipped objective under the actuator."""
    actuation = Actuation((CEGPPOActuator(),), settings_of(beta1, beta2))
    advantages, (low, high) = actuation.advantages(batch), actuation.clip(batch)
    ratios = (batch.logps - batch.old_logps).exp()
    objective = torch.min(ratios * advantages, ratios.clamp(1 - low, 1 + high) * advantages).sum()
    return torch.autograd.grad(objective, batch.logps)[0]


@pytest.mark.parametrize("betas", [(0.75, 1.0), (0.5, 1.0), (1.0, 0.5), (0.0, 1.0), (0.0, 0.0)])
def test_the_gradient_is_that_of_the_published_objective(betas):
    batch = random_batch()
    ratios = (batch.logps - batch.old_logps).exp()
    advantages = batch.inputs["advantages"].tolist()
    objective = sum(published(*betas, a, r, 0.2, 0.28) for a, row in zip(advantages, ratios, strict=True) for r in row)
    (expected,) = torch.autograd.grad(objective, batch.logps)
    torch.testing.assert_close(gradient(batch, *betas), expected)


def test_coefficients_of_0_give_ppos_gradient():
    batch = random_batch()
    ratios, advantages = (batch.logps - batch.old_logps).exp(), batch.inputs["advantages"][:, None]
    objective = torch.min(ratios * advantages, ratios.clamp(0.8, 1.28) * advantages).sum()
    (expected,) = torch.autograd.grad(objective, batch.logps)
    found = gradient(batch, 0.0, 0.0)
    torch.testing.assert_close(found, expected)
    assert 5 < (found == 0.0).sum() < 40 and (gradient(batch, 0.75, 1.0) != 0.0).all()


@pytest.mark.parametrize(
    ("control", "expected"),
    [(0.25, (0.75, 1.0)), (0.5, (0.5, 1.0)), (1.0, (0.0, 1.0)), (-0.5, (1.0, 0.5)), (0, (1, 1))],
)
def test_the_control_is_the_difference(control, expected):
    # the published pairs
    assert CEGPPOActuator().settings(control, ActuatorArgs()) == settings_of(*expected)
    assert CEGPPOActuator(0.0, 0.0).settings(control, ActuatorArgs()) == settings_of(0.0, 0.0)


def test_the_first_coefficients_are_those_that_are_set():
    for betas in ((0.75, 1.0), (1.0, 0.5), (0.0, 0.0), (0.5, 0.5)):
        actuator = CEGPPOActuator(*betas)
        assert actuator.settings(actuator.initial(ActuatorArgs()), ActuatorArgs()) == settings_of(*betas)


def test_more_control_means_more_entropy_after_a_step():
    # a likely token and unlikely ones, all of them beyond the clip on both sides
    def entropy_after(control):
        logits = torch.tensor([3.0, 0.0, 0.0, 0.0], requires_grad=True)
        logps = logits.log_softmax(-1).expand(2, 4)
        old = logps.detach() - torch.tensor([[math.log(1.6)], [math.log(0.5)]])
        batch = replace(batch_of([1.0, -1.0]), logps=logps, old_logps=old, clip=(0.2, 0.2))
        actuator = CEGPPOActuator()
        advantages = actuator.advantages(batch, actuator.settings(control, ActuatorArgs()))
        (-((logps - old).exp() * advantages * torch.tensor([0.0, 1.0, 1.0, 1.0])).sum()).backward()
        stepped = (logits - 0.1 * logits.grad).log_softmax(-1)
        return -(stepped.exp() * stepped).sum().item()

    entropies = [entropy_after(control) for control in (-1.0, -0.5, 0.0, 0.5, 1.0)]
    assert entropies == sorted(entropies) and entropies[0] < entropies[-1] - 0.01


def test_an_impossible_token_stays_finite():
    batch = batch_of([1.0, -1.0], logps=[[-200.0, 0.0]] * 2, old_logps=[[0.0, -200.0]] * 2)
    assert CEGPPOActuator().advantages(batch, settings_of(0.75, 1.0)).isfinite().all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps_per_generation": 1, "per_device_train_batch_size": 16}, "ce_gppo has no authority with 1 update"),
        ({"delta": 5.0}, "`delta` must be unset with ce_gppo, got 5.0, because it takes the gradient of large ratios"),
        ({"importance_sampling_level": "sequence"}, "`importance_sampling_level` must be `token` with ce_gppo"),
        ({"entropy_actuator": {"beta1": -0.1}}, "`beta1` must be a finite number >= 0, got -0.1: set 0.75"),
        ({"entropy_actuator": {"beta2": 3.0}}, "CEGPPOActuator must begin within its bounds"),
    ],
)
def test_what_is_refused(changes, message, lab_trainer):
    with pytest.raises(ValueError, match=message):
        lab_trainer(method="ce_gppo", **PLAIN, **changes)
