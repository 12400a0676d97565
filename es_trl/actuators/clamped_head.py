"""The clamped entropy, computed in the model's forward pass without the logits of a whole batch in memory.

The clamped entropy is the entropy over the top tokens of the vocabulary. To find them, all logits of a position must be
known together. TRL's fused head splits the vocabulary into tiles, so it never has them together. For the policy it is
replaced by a head whose tiles hold some positions and the whole vocabulary.

Source of the clamped entropy: "On Entropy Control in LLM-RL Algorithms" (arXiv 2509.03493).
"""

import functools
from types import SimpleNamespace
from typing import Any

import torch
import trl.trainer.utils
from trl.kernels.chunked_logprob import _addmm_fp32

from ..common.temporarily import temporarily


# Number of logits in a tile on a CPU, which takes 64 MiB per float32 buffer. An accelerator takes eight times as many.
TILE = 2**24


class ClampedHead:
    """A wrapper of the policy whose fused head also returns the clamped entropy. TRL calls it like the policy."""

    def __init__(self, model: torch.nn.Module, clamp: float) -> None:
        self.model = model
        self._function = SimpleNamespace(apply=functools.partial(ClampedLogProbs.apply, clamp))
        self._entropies: list[torch.Tensor] = []

    def __call__(self, **inputs: Any) -> Any:
        with temporarily(trl.trainer.utils, _ChunkedLogProbFunction=self._function):
            outputs = self.model(**inputs)
        self._entropies.append(outputs.log_sum_sq_probs)  # TRL reshapes this field and does not read it
        return outputs

    def entropies(self, positions: int) -> torch.Tensor:
        """Return the clamped entropies in nats of the last `positions` of each sequence, `(batch, positions)`."""
        return torch.cat(self._entropies)[:, -positions:]


class ClampedLogProbs(torch.autograd.Function):
    """
    Log-probabilities of the targets, entropy and clamped entropy of `softmax(transform(hidden @ weight.T + bias))`.

    For the clamped entropy, each row leaves out its lowest `int(clamp * vocabulary)` logits. A logit that equals the
    lowest of the rest stays. The softmax is taken over the tokens that stay, and the choice has no gradient.

    `clamp` is the first argument. The others, and the results, are those of TRL's chunked function, with the clamped
    entropy in the place of `log_sum_sq_probs`.
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
        """Return log-probabilities, entropies and clamped entropies of the targets, and twice `None`."""
        temperature, _, softcap, logit_scale, _ = options  # the rest are TRL's tile size and its choice of outputs
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
            exponentials *= logits.clone().ge_(threshold)  # a float mask, because a boolean one is several times slower
            clamped_log_sum, clamped = _moments(exponentials, logits)
            results.append(torch.cat([target - log_sum, entropy, clamped, top, threshold, log_sum, clamped_log_sum], 1))
        result = torch.cat(results) if results else hidden.new_zeros(0, 7, dtype=torch.float32)
        logps, entropy, clamped = (column.contiguous() for column in result[:, :3].unbind(1))
        ctx.save_for_backward(hidden, weight, bias, targets, result)
        ctx.set_materialize_grads(False)
        return logps, entropy, clamped, None, None

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor | None) -> tuple[torch.Tensor | None, ...]:
        """Return the gradients by `hidden`, `weight` and `bias`, from recomputed logits."""
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
        return None, *sums, *[None] * 6  # none for the targets and the options


def _tiles(hidden: torch.Tensor, vocabulary: int) -> list[slice]:
    tile = TILE if hidden.device.type == "cpu" else 8 * TILE
    size, tokens = max(tile // vocabulary, 1), len(hidden)
    return [slice(first, min(first + size, tokens)) for first in range(0, tokens, size)]


def _logits(
    hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, transform: tuple[float, float | None, float]
) -> tuple[torch.Tensor, torch.Tensor | float]:
    """
    Return the logits that the model samples from, and their derivative by the head's matrix product.

    The logits are in float32, or in float64 for a float64 weight.
    """
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
    """
    Return the logarithm of the sum of unnormalized probabilities, and their entropy, both of shape `(tokens, 1)`.

    `logits` are the logarithms of `exponentials`.
    """
    total = exponentials.sum(dim=1, keepdim=True)
    return total.log(), total.log() - (exponentials * logits).sum(dim=1, keepdim=True) / total


def _logits_grad(
    logits: torch.Tensor, result: torch.Tensor, targets: torch.Tensor, given: list[torch.Tensor | None]
) -> torch.Tensor:
    """
    Return the gradient by the logits; the memory of `logits` is reused.

    The derivatives are d log p_target / dz_j = 1[j = target] - p_j and, for both entropies, dH / dz_j =
    -p_j (log p_j + H).
    """
    grad_logps, grad_entropy, grad_clamped = given
    _, entropy, clamped, top, threshold, log_sum, clamped_log_sum = result.split(1, dim=1)
    logits -= top
    factor = torch.zeros_like(logits) if grad_logps is None else grad_logps.expand_as(logits).clone()
    if grad_clamped is not None:
        keeps = logits.clone().ge_(threshold)
        share = (log_sum - clamped_log_sum).exp()  # factor from p to the probability in the clamped policy
        term = logits + (clamped - clamped_log_sum)
        factor += term.mul_(keeps).mul_(grad_clamped * share)
    if grad_entropy is not None:
        factor += (logits + (entropy - log_sum)).mul_(grad_entropy)
    probabilities = logits.sub_(log_sum).exp_()
    grad = factor.mul_(probabilities).neg_()
    if grad_logps is not None:
        grad.scatter_add_(1, targets.unsqueeze(1), grad_logps.to(grad.dtype))
    return grad
