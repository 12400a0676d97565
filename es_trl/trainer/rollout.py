"""The rollout under way: its record, and what is measured of it so far."""

import time
from dataclasses import dataclass, field

import torch

from ..tracking.history import RolloutRecord
from .sensor import EntropySensor


@dataclass
class OpenRollout:
    """
    A rollout from the choice of its prompts to its last backward pass.

    Args:
        record (`RolloutRecord`):
            What the history will have of it.
        sensor (`EntropySensor`, *optional*):
            Sums its entropies; `None` until its prompts are known, and where a run was resumed after it was measured.
        measured (`bool`):
            Whether its entropy is known.
        clip_fractions (`list[float]`):
            Share of clipped tokens in each of its micro-batches so far.
        seconds_before (`float`):
            Time it took before the run was resumed.
        no_grad_passes (list of triples of `torch.Tensor`):
            Log-probabilities, entropies and clamped entropies (or `None`) of the policy's passes without gradient while
            it is generated.
    """

    record: RolloutRecord
    sensor: EntropySensor | None = None
    measured: bool = False
    clip_fractions: list[float] = field(default_factory=list)
    seconds_before: float = 0.0
    no_grad_passes: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]] = field(default_factory=list)

    def __post_init__(self):
        self._started = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Time that it has taken."""
        return self.seconds_before + time.perf_counter() - self._started

    def close(self) -> RolloutRecord:
        """The record, complete."""
        if self.clip_fractions:
            self.record.clip_high_fraction = sum(self.clip_fractions) / len(self.clip_fractions)
        self.record.seconds = self.seconds
        return self.record
