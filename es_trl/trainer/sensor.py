"""The entropy sensors: the token-mean entropy of each rollout with its standard error, and an estimate per update.

The entropy of a rollout is that of the policy which generated it, before any update on it. The estimate of an update is
for the present policy.
"""

from dataclasses import dataclass

import torch
from accelerate import Accelerator
from trl import GRPOConfig


@dataclass(frozen=True)
class EntropyReading:
    """
    The entropy of one rollout, with the field names of the history.

    Args:
        entropy (`float`):
            Mean entropy over all scored tokens, nats. It is NaN if the entropy of a token is NaN.
        entropy_se (`float`, *optional*):
            Standard error of the mean, nats, clustered by prompt, because completions of one prompt are not
            independent. `None` with fewer than two prompts.
        clamped_entropy (`float`, *optional*):
            Mean clamped entropy, nats; `None` if it is not measured.
        cut_ratios (`float`, *optional*):
            Share of the importance ratios between vLLM and the trainer that were cut to a bound or masked. It counts
            scored tokens, or with the `sequence_*` modes completions. `None` if there are no ratios.
    """

    entropy: float
    entropy_se: float | None
    clamped_entropy: float | None = None
    cut_ratios: float | None = None


class EntropySensor:
    """
    Sums the token entropies of one rollout per prompt, and reduces the sums over all processes once.

    A mean of batch means would give a token in a short batch more weight than one in a long batch. So the sensor sums
    entropies and tokens, and divides at the end. Every scored token then has the same weight.

    Args:
        prompts (`int`):
            Number of prompts in the rollout, over all processes.
    """

    def __init__(self, prompts: int):
        # per prompt: sum of entropies, tokens, sum of clamped entropies, cut ratios, ratios
        self._sums = torch.zeros(5, prompts, dtype=torch.float64)
        self._clamps = False

    def add(
        self,
        entropies: torch.Tensor,
        mask: torch.Tensor,
        prompt_index: torch.Tensor,
        clamped: torch.Tensor | None = None,
        cut: torch.Tensor | None = None,
    ) -> None:
        """
        Add one batch to the sums.

        Args:
            entropies (`torch.Tensor` of shape `(batch, tokens)`):
                Entropies of the policy, nats.
            mask (`torch.Tensor` of shape `(batch, tokens)`):
                1 for scored tokens, 0 for padding and for tokens that the model did not generate.
            prompt_index (`torch.Tensor` of shape `(batch,)`):
                Index in the rollout of each completion's prompt, from 0, over all processes.
            clamped (`torch.Tensor` of shape `(batch, tokens)`, *optional*):
                Clamped entropies, nats; given for every batch of a rollout or for none.
            cut (`torch.Tensor` of shape `(batch, tokens)` or `(batch, 1)`, *optional*):
                True for each importance ratio that was cut or masked, as [`cut_ratios`] returns it.
        """
        self._clamps = clamped is not None
        totals, tokens = _totals(entropies, mask), mask.sum(dim=1)
        nothing = torch.zeros_like(totals)
        clamped_totals = nothing if clamped is None else _totals(clamped, mask)
        ratios = cuts = nothing
        if cut is not None:
            counts = mask.bool() if cut.shape == mask.shape else mask.any(dim=1, keepdim=True)
            ratios, cuts = counts.sum(dim=1), (cut & counts).sum(dim=1)
        rows = torch.stack([totals, tokens, clamped_totals, cuts, ratios]).cpu().double()
        self._sums.index_add_(1, prompt_index.cpu(), rows)

    def read(self, accelerator: Accelerator) -> EntropyReading | None:
        """Return the reading over all processes, the same on each; `None` if the rollout has no scored token."""
        # float32 cannot count the tokens of a large rollout, but MPS has no float64
        dtype = torch.float32 if accelerator.device.type == "mps" else torch.float64
        sums = accelerator.reduce(self._sums.to(accelerator.device, dtype), reduction="sum").cpu().double()
        totals, tokens, clamped_totals, cuts, ratios = sums
        count = tokens.sum().item()
        if count == 0:
            return None
        mean = totals.sum().item() / count
        clamped = clamped_totals.sum().item() / count if self._clamps else None
        cut = (cuts.sum() / ratios.sum()).item() if ratios.any() else None
        prompts = int((tokens > 0).sum())
        if prompts < 2:
            return EntropyReading(mean, None, clamped, cut)
        # standard error of a ratio of two sums over independent prompts, linearised
        squares = ((totals - mean * tokens) ** 2).sum().item()
        return EntropyReading(mean, (prompts / (prompts - 1) * squares) ** 0.5 / count, clamped, cut)


class UpdateSensor:
    """
    Estimates the entropy of the present policy at each update, from log-probabilities that the loss has anyway.

        entropy = mean over the scored tokens of -log pi(token) * pi(token) / pi_old(token)

    The tokens were sampled from `pi_old`. The ratio makes the mean an unbiased estimate for `pi`, at the contexts that
    `pi_old` wrote. At the first update of a rollout every ratio is 1. Sampling must leave out no token (`top_p: 1.0`).

    Source: "MAI-Thinking-1: Building a Hill-Climbing Machine" (2026), equation 7.
    """

    def __init__(self) -> None:
        self._sums: torch.Tensor | None = None  # of this process: the estimate's sum in nats, and tokens

    def add(self, logps: torch.Tensor, old_logps: torch.Tensor, mask: torch.Tensor) -> None:
        """
        Add one micro-batch to the sums.

        Args:
            logps (`torch.Tensor` of shape `(batch, tokens)`):
                Log-probabilities of the tokens under the present policy.
            old_logps (`torch.Tensor` of shape `(batch, tokens)`):
                Log-probabilities of the tokens under the policy that sampled them.
            mask (`torch.Tensor` of shape `(batch, tokens)`):
                1 for scored tokens, 0 for padding and for tokens that the model did not generate.
        """
        dtype = torch.float32 if logps.device.type == "mps" else torch.float64
        logps, old_logps = logps.detach().to(dtype), old_logps.detach().to(dtype)
        values = torch.where(mask.bool(), -logps * torch.exp(logps - old_logps), logps.new_zeros(()))
        sums = torch.stack([values.sum(), mask.sum().to(dtype)])
        self._sums = sums if self._sums is None else self._sums + sums

    def read(self, accelerator: Accelerator) -> float | None:
        """Return the estimate of this update over all processes in nats; `None` if it has no scored token."""
        total, tokens = accelerator.reduce(self._sums, reduction="sum").tolist()
        self._sums = None
        return total / tokens if tokens else None


def _totals(entropies: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    # `where`, not a product: padding may hold NaN, and 0 * NaN is NaN
    counted = torch.where(mask.bool(), entropies.detach(), entropies.new_zeros(()))
    return counted.sum(dim=1, dtype=torch.float32)


def completion_mask(batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Return a mask of the scored tokens in TRL's batch, `(batch, tokens)`, without padding and tool output."""
    mask = batch["completion_mask"]
    return mask * batch["tool_mask"] if "tool_mask" in batch else mask


def cut_ratios(batch: dict[str, torch.Tensor], args: GRPOConfig) -> torch.Tensor | None:
    """
    Return a mask of the importance ratios between vLLM and the trainer that TRL cut to a bound or masked with 0.

    The shape is `(batch, tokens)`, or `(batch, 1)` with the `sequence_*` modes. Without vLLM there are no ratios, and
    the value is `None`.
    """
    ratios = batch.get("importance_sampling_ratio")
    if ratios is None:
        return None
    if args.vllm_importance_sampling_mode.endswith("mask"):
        return ratios == 0.0
    low, high = args.vllm_importance_sampling_clip_min, args.vllm_importance_sampling_clip_max
    below = torch.zeros_like(ratios, dtype=torch.bool) if low is None else ratios <= low
    return below if high is None else below | (ratios >= high)


def prompt_index(batch_size: int, num_generations: int, accelerator: Accelerator) -> torch.Tensor:
    """
    Return the index of each completion's prompt in the rollout, for the completions of this process, `(batch_size,)`.

    TRL repeats each prompt `num_generations` times in a row and gives each process an equal slice of the rollout.
    """
    first = accelerator.process_index * batch_size
    return torch.arange(first, first + batch_size, device=accelerator.device) // num_generations
