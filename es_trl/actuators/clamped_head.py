"""Entropy over the top of the vocabulary, in the model's own forward, without holding the logits of a batch.

TRL's fused head goes over the vocabulary in tiles, so it never has a whole row of logits, as a rank needs. For the
policy it is replaced by a head whose tiles are some tokens wide and the whole vocabulary long.

Source of the clamped entropy: "On Entropy Control in LLM-RL Algorithms" (arXiv 2509.03493).
"""

import functools
from types import SimpleNamespace
from typing import Any

import torch
import trl.trainer.utils
from trl.kernels.chunked_logprob import _addmm_fp32

from ..common.temporarily import temporarily


TILE = 2**24  # logits held at once on a CPU, 64 MiB of each float32 buffer; an accelerator takes eight times as many


class ClampedHead:
    """A policy whose fused head returns the clamped entropy, too; TRL calls it as it calls the policy."""

    def __init__(self, model: torch.nn.Module, clamp: float) -> None:
        self.model = model
        self._function = SimpleNamespace(apply=functools.partial(ClampedLogProbs.apply, clamp))
        self._entropies: list[torch.Tensor] = []

    def __call__(self, **inputs: Any) -> Any:
        with temporarily(trl.trainer.utils, _ChunkedLogProbFunction=self._function):
            outputs = self.model(**inputs)
        self._entropies.append(outputs.log_sum_sq_probs)  # the field that TRL shapes and leaves unread
        return outputs

    def entropies(self, positions: int) -> torch.Tensor:
        """Return the clamped entropies of the last `positions` of each sequence, `(batch, positions)`, nats."""
        return torch.cat(self._entropies)[:, -positions:]


class ClampedLogProbs(torch.autograd.Function):
    """
    Log-probabilities of the targets, entropy, and clamped entropy of `softmax(transform(hidden @ weight.T + bias))`.

    The clamped entropy is that of the softmax over the tokens that are left when the lowest `int(clamp * vocabulary)`
    logits of each row are left out (those equal to the lowest of the rest stay). The choice has no gradient.

    Arguments and results are those of TRL's chunked function, with `clamp` before them and the clamped entropy in the
    place of `log_sum_sq_probs`.
    """

    @staticmethod
    def forward(
        ctx: Any,
        clamp: float,
        hidden: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        targets: torch.Tensor,
        *options: Any,
    ) -> tuple[torch.Tensor | None, ...]:
        temperature, _, softcap, logit_scale, _ = options  # TRL's tiles and its choice of outputs do not matter here
        autocast = torch.is_autocast_enabled(hidden.device.type)
        ctx.compute_dtype = torch.get_autocast_dtype(hidden.device.type) if autocast else hidden.dtype
        ctx.transform = (logit_scale, softcap, 1.0 / temperature)
        dropped = int(clamp * len(weight))
        results, cast = [], weight.to(ctx.compute_dtype)
        for rows in _tiles(hidden, len(weight)):
            logits, _ = _logits(hidden[rows], cast, bias, ctx.transform)
            top = logits.amax(dim=1, keepdim=True)
            target = logits.gather(1, targets[rows].unsqueeze(1)) - top
            logits -= top
            threshold = logits.kthvalue(dropped + 1, dim=1, keepdim=True).values
            exponentials = logits.exp()
            log_sum, entropy = _moments(exponentials, logits)
            exponentials *= logits.clone().ge_(threshold)  # a float mask: a boolean one is several times slower
            clamped_log_sum, clamped = _moments(exponentials, logits)
            results.append(torch.cat([target - log_sum, entropy, clamped, top, threshold, log_sum, clamped_log_sum], 1))
        result = torch.cat(results) if results else hidden.new_zeros(0, 7, dtype=torch.float32)
        logps, entropy, clamped = (column.contiguous() for column in result[:, :3].unbind(1))
        ctx.save_for_backward(hidden, weight, bias, targets, result)
        ctx.set_materialize_grads(False)
        return logps, entropy, clamped, None, None

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor | None) -> tuple[torch.Tensor | None, ...]:
        hidden, weight, bias, targets, result = ctx.saved_tensors
        with trl.trainer.utils.maybe_gather_lm_head_ctx(weight, bias):
            sums = [
                torch.zeros(tensor.shape, device=tensor.device, dtype=result.dtype) if needed else None
                for tensor, needed in zip((hidden, weight, bias), ctx.needs_input_grad[1:4], strict=True)
            ]
            cast = weight.to(ctx.compute_dtype)
            for rows in _tiles(hidden, len(weight)):
                given = [None if grad is None else grad[rows, None] for grad in grads[:3]]
                logits, slope = _logits(hidden[rows], cast, bias, ctx.transform)
                grad = _logits_grad(logits, result[rows], targets[rows], given)
                grad *= slope
                if sums[2] is not None:
                    sums[2] += grad.sum(dim=0)
                grad = grad.to(ctx.compute_dtype)
                if sums[0] is not None:
                    sums[0][rows] = torch.mm(grad, cast).to(result.dtype)
                if sums[1] is not None:
                    add = torch.Tensor.addmm_ if sums[1].dtype == torch.float64 else _addmm_fp32
                    add(sums[1], grad.t(), hidden[rows].to(ctx.compute_dtype))
        sums = [None if s is None else s.to(t.dtype) for s, t in zip(sums, (hidden, weight, bias), strict=True)]
        return None, *sums, *[None] * 6  # targets and the options


def _tiles(hidden: torch.Tensor, vocabulary: int) -> list[slice]:
    tile = TILE if hidden.device.type == "cpu" else 8 * TILE
    size, tokens = max(tile // vocabulary, 1), len(hidden)
    return [slice(first, min(first + size, tokens)) for first in range(0, tokens, size)]


def _logits(
    hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, transform: tuple[float, float | None, float]
) -> tuple[torch.Tensor, torch.Tensor | float]:
    """Return logits as the model samples from them, in float32 at least, and their slope by the head's product."""
    logit_scale, softcap, inverse_temperature = transform
    logits = torch.mm(hidden.to(weight.dtype), weight.t())
    if bias is not None:
        logits += bias.to(weight.dtype)
    logits = logits.to(torch.promote_types(weight.dtype, torch.float32))
    slope: torch.Tensor | float = logit_scale * inverse_temperature
    if softcap is None:
        return logits.mul_(slope) if slope != 1.0 else logits, slope
    capped = torch.tanh(logits * (logit_scale / softcap))
    return capped * (softcap * inverse_temperature), (1.0 - capped**2) * slope


def _moments(exponentials: torch.Tensor, logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the logarithm of the sum, and the entropy, of weights and their logarithms, `(tokens, 1)` each."""
    total = exponentials.sum(dim=1, keepdim=True)
    return total.log(), total.log() - (exponentials * logits).sum(dim=1, keepdim=True) / total


def _logits_grad(
    logits: torch.Tensor, result: torch.Tensor, targets: torch.Tensor, given: list[torch.Tensor | None]
) -> torch.Tensor:
    """
    Return the gradient by the logits, whose memory is reused.

    d log p_target / dz_j = 1[j = target] - p_j, and dH / dz_j = -p_j (log p_j + H), for both entropies.
    """
    grad_logps, grad_entropy, grad_clamped = given
    _, entropy, clamped, top, threshold, log_sum, clamped_log_sum = result.split(1, dim=1)
    logits -= top
    factor = torch.zeros_like(logits) if grad_logps is None else grad_logps.expand_as(logits).clone()
    if grad_clamped is not None:
        keeps = logits.clone().ge_(threshold)
        share = (log_sum - clamped_log_sum).exp()  # of p in the clamped policy
        term = logits + (clamped - clamped_log_sum)
        factor += term.mul_(keeps).mul_(grad_clamped * share)
    if grad_entropy is not None:
        factor += (logits + (entropy - log_sum)).mul_(grad_entropy)
    probabilities = logits.sub_(log_sum).exp_()
    grad = factor.mul_(probabilities).neg_()
    if grad_logps is not None:
        grad.scatter_add_(1, targets.unsqueeze(1), grad_logps.to(grad.dtype))
    return grad
