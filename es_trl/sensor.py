"""The sensor: one global, token-weighted mean entropy a rollout, under the policy that sampled it."""

import torch
from accelerate import Accelerator


class EntropySensor:
    """
    Sums token entropies of one rollout over its batches, then divides once over all processes.

    A mean of means would weigh a token in a short batch more than one in a long batch; summing numerator and
    denominator jointly gives every scored token of the rollout the same weight on any number of processes.
    """

    def __init__(self):
        self._total = 0.0
        self._tokens = 0.0

    def add(self, entropies: torch.Tensor, mask: torch.Tensor) -> None:
        """
        Count one batch in.

        Args:
            entropies (`torch.Tensor` of shape `(batch, tokens)`):
                Entropy of the policy at each completion position, nats.
            mask (`torch.Tensor` of shape `(batch, tokens)`):
                1 where the position counts, 0 for padding and for tokens that the model did not write.
        """
        entropies = entropies.detach()
        # `where`, not a product: padding may hold NaN, and 0 * NaN is NaN
        rows = torch.where(mask.bool(), entropies, entropies.new_zeros(())).sum(dim=1, dtype=torch.float32)
        self._total += sum(rows.tolist())
        self._tokens += mask.sum().item()

    def read(self, accelerator: Accelerator) -> float | None:
        """
        Mean entropy in nats over everything counted in on all processes, the same on each; starts the next rollout.

        One reduce of two floats. The result is NaN where an entropy was, and `None` where no token was counted in on
        any process.
        """
        # float64 where the device has it: float32 cannot count the tokens of a large rollout
        dtype = torch.float32 if accelerator.device.type == "mps" else torch.float64
        local = torch.tensor([self._total, self._tokens], dtype=dtype, device=accelerator.device)
        total, tokens = accelerator.reduce(local, reduction="sum").tolist()
        self._total, self._tokens = 0.0, 0.0
        return total / tokens if tokens else None


def completion_mask(batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """The scored positions of TRL's batch, `(batch, tokens)`: completions without padding and without tool output."""
    mask = batch["completion_mask"]
    return mask * batch["tool_mask"] if "tool_mask" in batch else mask
