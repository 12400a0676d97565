"""The completions of a generation with their rewards, and their way from and to the processes."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object


Rows = list[dict[str, Any]]
# a completion: the number of its generation in the rollout, and its number in this generation
Source = tuple[int, int]

# the first results of TRL's `_generate`, in its order
COLUMNS = ("prompt_ids", "completion_ids", "tool_mask", "completion", "logprobs")


@dataclass(frozen=True)
class ScoredCompletions:
    """
    The completions of one generation.

    They are numbered over all processes: each process has an equal share of them, in the order of the processes.
    """

    entries: Rows  # the results of `entries_of`, one per completion of this process
    rewards: torch.Tensor  # (completions of all processes, reward functions); NaN if a function gave no reward
    tokens: list[int]  # tokens of each completion of all processes
    others: tuple[Any, ...] = ()  # the results of `_generate` that do not belong to single completions


def entries_of(rows: Rows, generated: tuple[Any, ...], logged: dict[str, list[Any]]) -> Rows:
    """
    Return one dict per completion.

    Args:
        rows (`list[dict[str, Any]]`):
            Rows of the dataset, one per completion.
        generated (`tuple`):
            Result of TRL's `_generate` for these rows.
        logged (`dict[str, list[Any]]`):
            Columns that reward functions logged.
    """
    columns = {name: column or [None] * len(rows) for name, column in zip(COLUMNS, generated, strict=False)}
    return [
        {
            "row": row,
            "logged": {name: values[i] for name, values in logged.items() if len(values) == len(rows)},
            **{name: column[i] for name, column in columns.items()},
        }
        for i, row in enumerate(rows)
    ]


def columns_of(entries: Rows) -> tuple[list[Any] | None, ...]:
    """Return the completions in the form of `_generate`, one list per name in `COLUMNS`."""
    columns = ([entry[name] for entry in entries] for name in COLUMNS)
    return tuple(column if None not in column else None for column in columns)


def weighted_sums(rewards: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """
    Return the weighted sum of the rewards of each completion, as TRL does.

    Args:
        rewards (`torch.Tensor` of shape `(completions, reward functions)`):
            Rewards; NaN if a function gave no reward.
        weights (`torch.Tensor` of shape `(reward functions,)`):
            Weights.

    Returns:
        `torch.Tensor` of shape `(completions, 1)`: the sums, NaN if no function gave a reward.
    """
    sums = (rewards * weights.to(rewards.device)).nansum(dim=1, keepdim=True)
    return sums.masked_fill(rewards.isnan().all(dim=1, keepdim=True), torch.nan)


def own_share(rows: Rows, process: int, processes: int) -> Rows:
    """Return copies of a process's equal share of `rows`, the last of which is repeated until all can have as many."""
    size = math.ceil(len(rows) / processes)
    return [dict(rows[min(i, len(rows) - 1)]) for i in range(process * size, (process + 1) * size)]


def bring(sources: list[Source], generations: list[ScoredCompletions], accelerator: Accelerator) -> Rows:
    """
    Return the entries of this process's share of a rollout, which other processes may hold.

    Args:
        sources (`list[Source]`):
            The completions of the rollout, over all processes; each process takes an equal share of them.
        generations (`list[ScoredCompletions]`):
            The generations of the rollout.
        accelerator (`Accelerator`):
            The trainer's accelerator.
    """
    process, size = accelerator.process_index, len(sources) // accelerator.num_processes
    entries, sent = {}, []
    for place, (generation, number) in enumerate(sources):
        held = generations[generation].entries
        holder, row = divmod(number, len(held))
        if holder == process and place // size == process:
            entries[place] = held[row]
        elif holder == process:
            sent.append((place, held[row]))
    entries.update(gather_object(sent))
    return [entries[place] for place in range(process * size, (process + 1) * size)]
