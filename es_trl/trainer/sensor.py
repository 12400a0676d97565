"""The sensor: one global, token-weighted mean entropy per rollout, under the policy that sampled it, and its noise."""

from dataclasses import dataclass

import torch
from accelerate import Accelerator
from trl import GRPOConfig


@dataclass(frozen=True)
class EntropyReading:
    """
    What one rollout says of the policy's entropy, by the names of the history.

    Args:
        entropy (`float`):
            Mean over all scored tokens, nats; NaN where an entropy was.
        entropy_se (`float`, *optional*):
            Standard error of the mean, nats, clustered by prompt: prompts are drawn independently, and the completions
            of one prompt are not. `None` with fewer than two prompts.
        clamped_entropy (`float`, *optional*):
            Mean of the clamped entropy, nats; `None` where none was counted in.
        truncated (`float`, *optional*):
            Share of the importance ratios of scored tokens, or of completions with a scored token, that were cut to a
            bound or masked; `None` where none was counted in.
    """

    entropy: float
    entropy_se: float | None
    clamped_entropy: float | None = None
    truncated: float | None = None


class EntropySensor:
    """
    Sums token entropies of one rollout by prompt over its batches, then reduces once over all processes.

    A mean of means would weigh a token in a short batch more than one in a long batch; summing numerator and
    denominator jointly gives every scored token of the rollout the same weight on any number of processes.

    Args:
        prompts (`int`):
            Prompts of the rollout, over all processes.
    """

    def __init__(self, prompts: int):
        # entropies, tokens, clamped entropies, ratios that were cut and ratios, of each prompt
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
        Count one batch in.

        Args:
            entropies (`torch.Tensor`), clamped (`torch.Tensor`, *optional*), both of shape `(batch, tokens)`:
                Entropies and clamped entropies of the policy, nats; clamped ones for a whole rollout or not at all.
            mask (`torch.Tensor` of shape `(batch, tokens)`):
                1 where the position counts, 0 for padding and for tokens that the model did not write.
            prompt_index (`torch.Tensor` of shape `(batch,)`):
                Which prompt of the rollout each completion answers, from 0, counted over all processes.
            cut (`torch.Tensor` of shape `(batch, tokens)` or `(batch, 1)`, *optional*):
                Which importance ratios were cut, of tokens or of completions, see [`cut_ratios`].
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
        """Return the reading over all processes, the same on each, by one reduce; `None` where no token was counted."""
        # float64 where the device has it: float32 cannot count the tokens of a large rollout
        dtype = torch.float32 if accelerator.device.type == "mps" else torch.float64
        sums = accelerator.reduce(self._sums.to(accelerator.device, dtype), reduction="sum").cpu().double()
        totals, tokens, clamped_totals, cuts, ratios = sums
        count = tokens.sum().item()
        if count == 0:
            return None
        mean = totals.sum().item() / count
        clamped = clamped_totals.sum().item() / count if self._clamps else None
        truncated = (cuts.sum() / ratios.sum()).item() if ratios.any() else None
        prompts = int((tokens > 0).sum())
        if prompts < 2:
            return EntropyReading(mean, None, clamped, truncated)
        # linearised ratio of two sums over independent prompts
        squares = ((totals - mean * tokens) ** 2).sum().item()
        return EntropyReading(mean, (prompts / (prompts - 1) * squares) ** 0.5 / count, clamped, truncated)


def _totals(entropies: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    # `where`, not a product: padding may hold NaN, and 0 * NaN is NaN
    counted = torch.where(mask.bool(), entropies.detach(), entropies.new_zeros(()))
    return counted.sum(dim=1, dtype=torch.float32)


def completion_mask(batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Return the scored positions of TRL's batch, `(batch, tokens)`: without padding and without tool output."""
    mask = batch["completion_mask"]
    return mask * batch["tool_mask"] if "tool_mask" in batch else mask


def cut_ratios(batch: dict[str, torch.Tensor], args: GRPOConfig) -> torch.Tensor | None:
    """
    Return which importance ratios between vLLM and the trainer TRL cut to a bound, or masked with 0.

    The shape is `(batch, tokens)`, or `(batch, 1)` with the `sequence_*` modes; `None` where there are no ratios.
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
    Return which prompt of the rollout each completion of this process answers, `(batch_size,)`.

    TRL repeats each prompt `num_generations` times in a row and cuts the rollout into equal slices, one per process.
    """
    first = accelerator.process_index * batch_size
    return torch.arange(first, first + batch_size, device=accelerator.device) // num_generations
