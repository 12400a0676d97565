"""The clamped head against the formula in float64, and against TRL's head."""

import subprocess
import sys

import pytest
import torch
from trl.trainer.utils import _ChunkedLogProbFunction

from es_trl.actuators.clamped_head import TILE, ClampedLogProbs


def reference(hidden, weight, bias, targets, clamp, temperature=1.0, softcap=None, scale=1.0):
    """Log-probabilities, entropy and clamped entropy as the paper writes them, by sorting and a plain softmax."""
    logits = hidden @ weight.t() + (0.0 if bias is None else bias)
    logits = logits * scale
    if softcap is not None:
        logits = softcap * torch.tanh(logits / softcap)
    logits = logits / temperature
    logp = logits.log_softmax(-1)
    kept = logits.sort(-1).values[:, int(clamp * logits.shape[-1]) :].log_softmax(-1)
    entropies = [-(values.exp() * values).sum(-1) for values in (logp, kept)]
    return logp.gather(1, targets[:, None]).squeeze(1), *entropies


def head(dtype, tokens=7, vocabulary=31, size=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    hidden, weight = (torch.randn(n, size, generator=generator, dtype=dtype) * 2.0 for n in (tokens, vocabulary))
    bias = torch.randn(vocabulary, generator=generator, dtype=dtype)
    targets = torch.randint(vocabulary, (tokens,), generator=generator)
    return [tensor.requires_grad_() for tensor in (hidden, weight, bias)], targets


def test_by_hand():
    # logits 0, ln 2, ln 3, ln 4 and half of them left: 3/7 and 4/7
    logits = torch.tensor([[1.0, 2.0, 3.0, 4.0]], dtype=torch.float64).log()
    weight = torch.eye(4, dtype=torch.float64)
    logps, entropy, clamped, *_ = ClampedLogProbs.apply(
        0.5, logits, weight, None, torch.tensor([0]), 1.0, 0, None, 1.0, ()
    )
    kept = torch.tensor([3.0 / 7.0, 4.0 / 7.0], dtype=torch.float64)
    assert clamped.item() == pytest.approx(-(kept * kept.log()).sum().item(), abs=1e-15)
    assert logps.item() == pytest.approx(torch.tensor(0.1).log().item(), abs=1e-7)
    assert entropy.item() == pytest.approx(1.2798542258336676, abs=1e-15)


@pytest.mark.parametrize("clamp", [0.0, 0.2, 0.33, 0.9])
@pytest.mark.parametrize(
    "options",
    [{}, {"temperature": 0.7}, {"temperature": 1.3, "softcap": 4.0, "scale": 0.5}],
    ids=["plain", "temperature", "softcap"],
)
def test_value_and_gradient_in_float64(clamp, options):
    inputs, targets = head(torch.float64)
    weights = torch.randn(3, len(targets), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    expected = reference(*inputs, targets, clamp, **options)
    expected_grads = torch.autograd.grad(sum((w * x).sum() for w, x in zip(weights, expected, strict=True)), inputs)
    found = ClampedLogProbs.apply(
        clamp,
        *inputs,
        targets,
        options.get("temperature", 1.0),
        0,
        options.get("softcap"),
        options.get("scale", 1.0),
        (),
    )[:3]
    grads = torch.autograd.grad(sum((w * x).sum() for w, x in zip(weights, found, strict=True)), inputs)
    for a, b in zip([*found, *grads], [*expected, *expected_grads], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_only_the_clamped_entropy_has_a_gradient():
    inputs, targets = head(torch.float64)
    expected = torch.autograd.grad(reference(*inputs, targets, 0.33)[2].sum(), inputs)
    found = torch.autograd.grad(ClampedLogProbs.apply(0.33, *inputs, targets, 1.0, 0, None, 1.0, ())[2].sum(), inputs)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_several_tiles_are_one(monkeypatch):
    inputs, targets = head(torch.float32)
    whole = ClampedLogProbs.apply(0.33, *inputs, targets, 1.0, 0, None, 1.0, ())
    grads = torch.autograd.grad((whole[0] + whole[2]).sum(), inputs)
    monkeypatch.setattr("es_trl.actuators.clamped_head.TILE", 2 * 31)  # two tokens a tile, one in the last
    tiled = ClampedLogProbs.apply(0.33, *inputs, targets, 1.0, 0, None, 1.0, ())
    torch.testing.assert_close(tiled[:3], whole[:3])
    torch.testing.assert_close(torch.autograd.grad((tiled[0] + tiled[2]).sum(), inputs), grads)


def test_with_nothing_left_out_it_is_trls_head():
    inputs, targets = head(torch.float32, tokens=50, vocabulary=200, size=16)
    ours = ClampedLogProbs.apply(0.0, *inputs, targets, 0.8, 64, None, 1.0, ())
    theirs = _ChunkedLogProbFunction.apply(*inputs, targets, 0.8, 64, None, 1.0, ("log_probs", "entropy"))
    torch.testing.assert_close(ours[:2], theirs[:2], rtol=1e-5, atol=2e-5)
    torch.testing.assert_close(ours[2], ours[1])
    grads = [torch.autograd.grad((r[0] * 2.0 + r[1]).sum(), inputs) for r in (ours, theirs)]
    torch.testing.assert_close(*grads, rtol=1e-4, atol=1e-4)


def test_ties_at_the_threshold_stay():
    # 0, 0, 0, 1 with half of them to leave out: the lowest that stays is 0, so all three zeros do
    logits = torch.tensor([[0.0, 0.0, 0.0, 1.0]])
    _, entropy, clamped, *_ = ClampedLogProbs.apply(
        0.5, logits, torch.eye(4), None, torch.tensor([3]), 1.0, 0, None, 1.0, ()
    )
    assert clamped.item() == pytest.approx(entropy.item())


def test_half_precision_keeps_its_sums():
    inputs, targets = head(torch.bfloat16, tokens=20, vocabulary=300, size=8)
    expected = reference(*(x.detach().double() for x in inputs), targets, 0.33)
    found = ClampedLogProbs.apply(0.33, *inputs, targets, 1.0, 0, None, 1.0, ())
    assert found[2].dtype == torch.float32
    torch.testing.assert_close(found[2].double(), expected[2], rtol=0.05, atol=0.05)
    assert all(g.dtype == torch.bfloat16 and g.isfinite().all() for g in torch.autograd.grad(found[2].sum(), inputs))


PEAK = """
import resource, torch
torch.set_num_threads(1)
from es_trl.actuators.clamped_head import ClampedLogProbs
hidden, weight = torch.randn(768, 16, requires_grad=True), torch.randn(151_936, 16, requires_grad=True)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
targets = torch.zeros(768, dtype=int)
logps, _, clamped, *_ = ClampedLogProbs.apply(0.33, hidden, weight, None, targets, 1.0, 0, None, 1.0, ())
(logps + clamped).sum().backward()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.slow
def test_memory_is_that_of_a_tile():
    assert TILE * 4 == 64 * 2**20
    printed = subprocess.run([sys.executable, "-c", PEAK], capture_output=True, text=True, check=True).stdout
    # 768 tokens would have 445 MiB of logits in each of half a dozen buffers
    assert int(printed) / 1024 < 700
