"""Clip-Cov and KL-Cov on tiny tensors, with numbers that can be followed by hand."""

import pytest
import torch
from tensors import batch_of

from es_trl.actuators.batch import MicroBatch
from es_trl.actuators.covariance import ClipCovActuator, KLCovActuator, covariances


def test_covariances_by_hand():
    # means over the three scored tokens: A 1/3, log pi -2
    covs = covariances(
        torch.tensor([1.0, -1.0]), torch.tensor([[-1.0, -2.0], [-3.0, 7.0]]), torch.tensor([[1, 1], [1, 0]])
    )
    assert covs[0].tolist() == pytest.approx([2 / 3, 0.0]) and covs[1, 0].item() == pytest.approx(4 / 3)


def test_clip_cov_takes_a_token_of_high_covariance():
    batch = batch_of([1.0, -1.0], logps=[[-1.0, -2.0], [-3.0, 7.0]], mask=[[1.0, 1.0], [1.0, 0.0]])
    advantages = ClipCovActuator(ratio=1e-6).advantages(batch, {"clip_cov_ratio": 1e-6})
    # only the token with 4/3 lies between 1 and 5
    assert advantages.tolist() == [[1.0, 1.0], [0.0, -1.0]]
    assert batch.inputs["advantages"].tolist() == [1.0, -1.0]
    assert ClipCovActuator().advantages(batch, {"clip_cov_ratio": 0.0}).tolist() == [[1.0, 1.0], [-1.0, -1.0]]


def test_clip_cov_leaves_out_what_ppo_has_clipped():
    # the ratio of that token is exp(-1), below 1 - 0.2, and its advantage is negative
    batch = batch_of(
        [1.0, -1.0],
        logps=[[-1.0, -2.0], [-3.0, 7.0]],
        old_logps=[[-1.0, -2.0], [-2.0, 7.0]],
        mask=[[1.0, 1.0], [1.0, 0.0]],
    )
    assert ClipCovActuator().advantages(batch, {"clip_cov_ratio": 0.5}).tolist() == [[1.0, 1.0], [-1.0, -1.0]]


@pytest.mark.parametrize(("ratio", "taken"), [(1e-6, 1), (0.1, 2), (0.19, 3), (1.0, 20)])
def test_clip_cov_takes_the_share(ratio, taken):
    # 20 tokens, likely ones of right answers and unlikely ones of wrong answers: 1.5 * 2 = 3 for each
    batch = batch_of([1.5, -1.5], logps=[[-1.0] * 10, [-5.0] * 10])
    covs = covariances(torch.tensor([1.5, -1.5]), batch.logps, batch.mask)
    assert covs.unique().tolist() == [3.0]
    advantages = ClipCovActuator(high=1.0).advantages(batch, {"clip_cov_ratio": ratio})
    assert (advantages == 0.0).sum().item() == taken


@pytest.mark.parametrize("coefficient", [0.0, 0.1, 1.0])
def test_kl_cov_has_the_gradient_of_its_formula(coefficient):
    generator = torch.Generator().manual_seed(0)
    logps = (-torch.rand(3, 4, generator=generator, dtype=torch.float64) * 3.0).requires_grad_()
    old_logps = (logps + torch.randn(3, 4, generator=generator, dtype=torch.float64)).detach()
    advantages = torch.tensor([1.3, -0.7, -0.6], dtype=torch.float64)
    mask = torch.tensor([[1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 0.0, 0.0], [1.0, 1.0, 1.0, 0.0]], dtype=torch.float64)
    # paper: -A * ratio, plus k * |log pi - log pi_old| on the tokens of highest covariance (2 of 9)
    highest = covariances(advantages, logps.detach(), mask).masked_fill(mask == 0.0, -torch.inf).flatten().topk(2)
    chosen = torch.zeros(12, dtype=torch.float64)
    chosen[highest.indices] = 1.0
    ratios = (logps - old_logps).exp()
    published = -advantages[:, None] * ratios + coefficient * chosen.view(3, 4) * (logps - old_logps).abs()
    (expected,) = torch.autograd.grad((published * mask).sum(), logps, retain_graph=True)
    batch = batch_of([0.0] * 3)
    batch = MicroBatch(**{**vars(batch), "logps": logps, "old_logps": old_logps, "mask": mask})
    batch.inputs["advantages"] = advantages
    own = KLCovActuator(ratio=2.5 / 9).advantages(batch, {"kl_cov_coef": coefficient})
    # TRL's clipped loss with the clip out of reach
    (found,) = torch.autograd.grad((-torch.min(ratios * own, ratios.clamp(0.0, 1e9) * own) * mask).sum(), logps)
    torch.testing.assert_close(found, expected)


def test_kl_cov_stays_finite_where_a_token_has_become_impossible():
    batch = batch_of([1.0, -1.0], logps=[[-100.0, -1.0], [-1.0, -1.0]], old_logps=[[-1.0] * 2] * 2)
    assert KLCovActuator(ratio=1.0).advantages(batch, {"kl_cov_coef": 1.0}).isfinite().all()
