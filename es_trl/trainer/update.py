"""One update: the micro-batches that TRL holds for it, and those that are computed here."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator

from ..micro_batches.cutting import LAYOUTS
from ..micro_batches.exchange import returned, work_of
from ..micro_batches.rows import joined, parts_of
from .forward import LogProbs
from .micro_batches import cut


@dataclass(frozen=True)
class Update:
    """
    The micro-batches of one update on this process.

    Args:
        held (`list[dict[str, Any]]`):
            TRL's micro-batches.
        computed (`list[dict[str, Any]]`):
            The micro-batches that this process computes.
        prompt_width (`int`):
            Columns of the prompts in the whole rollout.
        place (`torch.Tensor` of shape `(completions,)`, *optional*):
            Place of each completion of `held` in the order of all work; `None` without a plan.
        layout (`str`, *optional*):
            Layout of `computed`; `None` for TRL's own.
        moves (`bool`):
            Whether completions are computed by other processes than hold them.
    """

    held: list[dict[str, Any]]
    computed: list[dict[str, Any]]
    prompt_width: int
    place: torch.Tensor | None = None
    layout: str | None = None
    moves: bool = False

    @property
    def usual(self) -> int:
        """The number of completions in each of TRL's micro-batches."""
        return len(self.held[0]["advantages"])

    @property
    def is_regrouped(self) -> bool:
        """Whether the computed micro-batches hold other completions than TRL's."""
        return self.moves or len(self.held) > 1 or (self.place is not None and len(self.computed) > 1)

    def known(self, found: Sequence[LogProbs], accelerator: Accelerator) -> LogProbs:
        """Return what the policy said about the completions of `held`, from what it said about those of `computed`."""
        joint = LogProbs.joined(found, self.held[0]["completion_ids"].shape[1])
        return joint.map(lambda column: returned(column, self.place, self.moves, accelerator))


def update_at(buffered: list[dict[str, Any]], position: int, parts: int, accelerator: Accelerator) -> Update | None:
    """
    Return the update whose last micro-batch is at `position` in TRL's buffer, or `None` inside an update.

    Args:
        buffered (`list[dict[str, Any]]`):
            TRL's micro-batches of the rollout.
        position (`int`):
            Position of the present one.
        parts (`int`):
            Number of micro-batches into which each is cut without a plan.
        accelerator (`Accelerator`):
            The accelerator.

    Returns:
        `Update` or `None`: the update.
    """
    present = buffered[position]
    if "place" not in present:
        return Update([present], cut(present, parts), present["prompt_ids"].shape[1])
    group = len(buffered) // int(present["updates"])
    if (position + 1) % group:
        return None
    held = buffered[position + 1 - group : position + 1]
    whole = joined(held)
    layout, moves, place = LAYOUTS[int(whole["layout"])], bool(whole["moves"]), whole["place"]
    work = work_of(whole, place, moves, accelerator)
    computed = list(parts_of(work, torch.bincount(work["micro_batch"].cpu()).tolist()))
    return Update(held, computed, whole["prompt_ids"].shape[1], place, layout, moves)
