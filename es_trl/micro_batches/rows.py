"""The rows of TRL's batch: one row per completion, prompts padded on the left and completions on the right."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch.nn.functional import pad


# Columns of shape (rows, tokens of a completion), with the value that stands for nothing.
COMPLETION_COLUMNS = {
    "completion_ids": 0,
    "completion_mask": 0,
    "tool_mask": 0,
    "old_per_token_logps": 0.0,
    "ref_per_token_logps": 0.0,
    "sampling_per_token_logps": 0.0,
    "importance_sampling_ratio": 1.0,
}
PROMPT_COLUMNS = ("prompt_ids", "prompt_mask")


def facts(batch: dict[str, Any]) -> torch.Tensor:
    """
    Return what a plan must know of each row of a batch.

    Returns:
        `torch.Tensor` of shape `(rows, 3)`: tokens of the prompt, tokens of the completion, and a number that rows
        with the same prompt share.
    """
    mask = batch["prompt_mask"]
    _, same = distinct(batch["prompt_ids"], mask)
    return torch.stack([mask.sum(dim=1), tokens_of(batch["completion_mask"]), same], dim=1)


def distinct(prompt_ids: torch.Tensor, prompt_mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """
    Return the different prompts of some rows, and for each row the number of its prompt.

    Prompts have the shape `(prompts, tokens)`, with -1 for padding: the mask tells a padding token apart from the same
    token in a prompt.
    """
    return torch.unique(torch.where(prompt_mask.bool(), prompt_ids, -1), dim=0, return_inverse=True)


def tokens_of(completion_mask: torch.Tensor) -> torch.Tensor:
    """Return the number of tokens of each completion, `(rows,)`: the position behind the last one that counts."""
    positions = torch.arange(1, completion_mask.shape[1] + 1, device=completion_mask.device)
    return (completion_mask.bool() * positions).amax(dim=1)


def joined(batches: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return several batches of the same width as one."""
    first = batches[0]
    if len(batches) == 1:
        return dict(first)
    return {name: torch.cat([b[name] for b in batches]) if has_rows(first[name]) else first[name] for name in first}


def picked(batch: dict[str, Any], rows: torch.Tensor | slice) -> dict[str, Any]:
    """Return the given rows of a batch, in their order."""
    return {name: column[rows] if has_rows(column) else column for name, column in batch.items()}


def parts_of(batch: dict[str, Any], sizes: Iterable[int]) -> Iterator[dict[str, Any]]:
    """Yield the rows of a batch in parts of the given sizes, each without the padding that all of its rows have."""
    done = 0
    for size in sizes:
        yield trimmed(picked(batch, slice(done, done + size)))
        done += size


def shuffled_as(batch: dict[str, Any], order: torch.Tensor) -> dict[str, Any]:
    """Return a batch whose rows are in the given order after TRL has shuffled them with its next random numbers."""
    rows = torch.empty_like(order)
    rows[next_shuffle(len(order))] = order
    return picked(batch, rows)


def next_shuffle(rows: int) -> torch.Tensor:
    """Return the order in which TRL shuffles the rows of a batch, if nothing draws random numbers before."""
    state = torch.get_rng_state()
    order = torch.randperm(rows)
    torch.set_rng_state(state)
    return order


def trimmed(batch: dict[str, Any]) -> dict[str, Any]:
    """Return a batch without the padding that all of its rows have."""
    widths = torch.stack([batch["prompt_mask"].sum(dim=1).max(), tokens_of(batch["completion_mask"]).max()]).tolist()
    return fitted(batch, *widths)


def fitted(batch: dict[str, Any], prompt_width: int, completion_width: int) -> dict[str, Any]:
    """Return a batch whose prompts and completions have the given numbers of columns, at least 1 and 2."""
    result, before = dict(batch), batch["completion_ids"].shape[1]
    # TRL takes a single column for one value per completion, and then counts those that are masked
    completion_width = max(completion_width, min(before, 2))
    for name in PROMPT_COLUMNS:
        result[name] = fit_left(batch[name], max(prompt_width, 1))
    for name, nothing in COMPLETION_COLUMNS.items():
        # with the sequence modes of vLLM's correction, a completion has one ratio
        if name in batch and batch[name].shape[1] == before:
            result[name] = fit_right(batch[name], completion_width, nothing)
    return result


def fit_left(column: torch.Tensor, width: int) -> torch.Tensor:
    """Return a column of shape `(rows, width)`, cut or filled with 0 on the left."""
    missing = width - column.shape[1]
    return pad(column, (missing, 0)) if missing > 0 else column[:, -missing:]


def fit_right(column: torch.Tensor, width: int, nothing: float = 0.0) -> torch.Tensor:
    """Return a column of shape `(rows, width)`, cut or filled with `nothing` on the right."""
    missing = width - column.shape[1]
    return pad(column, (0, missing), value=nothing) if missing > 0 else column[:, :width]


def has_rows(column: Any) -> bool:
    """Return whether a value of a batch has one row per completion."""
    return isinstance(column, torch.Tensor) and column.dim() > 0
