"""The exchange of completions between the processes that hold them and the processes that compute them.

The `place` of a completion is its position in the order of all work: first the work of process 0, then that of process
1, and so on. Every process holds and computes the same number of completions.
"""

from typing import Any

import torch
from accelerate import Accelerator

from .rows import has_rows, picked


def work_of(batch: dict[str, Any], place: torch.Tensor, moves: bool, accelerator: Accelerator) -> dict[str, Any]:
    """
    Return the completions that this process computes, in the order of their places.

    Args:
        batch (`dict[str, Any]`):
            The completions that this process holds, of the same width on every process.
        place (`torch.Tensor` of shape `(rows,)`):
            Place of each of them.
        moves (`bool`):
            Whether some are computed by other processes. If not, nothing is sent.
        accelerator (`Accelerator`):
            The accelerator.

    Returns:
        `dict[str, Any]`: the batch with as many rows.
    """
    rows, process = len(place), accelerator.process_index
    if moves:
        columns = {name: column for name, column in batch.items() if has_rows(column)}
        device = accelerator.device
        # NCCL gathers no tensors with gaps, and TRL's cuts have them
        gathered = accelerator.gather({name: column.to(device).contiguous() for name, column in columns.items()})
        batch, place = {**batch, **gathered}, accelerator.gather(place.to(device))
        order = place.argsort()[process * rows : (process + 1) * rows]
    else:
        order = place.argsort()
    return picked(batch, order)


def returned(computed: torch.Tensor, place: torch.Tensor, moves: bool, accelerator: Accelerator) -> torch.Tensor:
    """
    Return the results of the completions that this process holds; the inverse of [`work_of`].

    Args:
        computed (`torch.Tensor` of shape `(rows, ...)`):
            Results of the completions that this process computes, in the order of their places.
        place, moves, accelerator:
            As in [`work_of`].

    Returns:
        `torch.Tensor` of shape `(rows, ...)`: one result for each entry of `place`.
    """
    if moves:
        return accelerator.gather(computed.contiguous())[place.to(computed.device)]
    return computed[place.to(computed.device) - accelerator.process_index * len(place)]
