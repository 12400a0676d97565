"""The micro-batches of a rollout: which process computes which completions together, update by update."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator

from .cutting import LAYOUTS, Costs, Lengths, best_cuts, cost_of, equal_cuts
from .rows import fitted


PROMPT, COMPLETION, SAME, POSITION = range(4)  # columns of the facts about a completion
COLUMNS = ("place", "micro_batch", "updates", "layout", "moves", "mark")  # that a plan adds to a batch


@dataclass(frozen=True)
class Budget:
    """
    What a micro-batch may hold and what it costs.

    Args:
        tokens (`int`, *optional*):
            Most tokens of a micro-batch, with padding. With `None`, it is the number of `completions` times the
            longest prompt of the rollout and a completion of `length`.
        completions (`int`):
            Completions of that number.
        length (`int`, *optional*):
            Tokens of the longest completion that may be sampled; `None` for that of the rollout.
        costs (`Costs`):
            What a micro-batch costs beside its tokens.
        layouts (`tuple[str, ...]`):
            The layouts of `layout.py` to choose from; the first one wins where two cost the same.
        parts (`int`, *optional*):
            Cut every update into so many micro-batches with the same number of completions, not by tokens. Then the
            completions of a process stay with it, in their order.
    """

    tokens: int | None
    completions: int
    length: int | None
    costs: Costs
    layouts: tuple[str, ...]
    parts: int | None = None

    def most(self, prompt: int, completion: int) -> int:
        """Return the most tokens of a micro-batch, for the longest prompt and completion of the rollout."""
        return self.tokens or self.completions * (prompt + (self.length or completion))


@dataclass(frozen=True)
class Plan:
    """
    The micro-batches of one rollout, the same on every process.

    A completion is known by its row in the rollout, counted from 0 over all processes.

    Args:
        layout (`str`):
            How a micro-batch is laid out, see `layout.py`.
        rows (`np.ndarray` of shape `(updates, processes, completions)`):
            The rows that each process computes, in their order.
        cuts (`list[list[int]]`):
            For each update, the positions in `rows` between which the micro-batches lie.
        tokens (`int`):
            Cost of all micro-batches, in tokens, on the process with the most.
        moves (`bool`):
            Whether a process may compute completions that another one holds.
        widths (`tuple[int, int]`):
            Tokens of the longest prompt and of the longest completion of the rollout; the latter at least 2 if `moves`.
    """

    layout: str
    rows: np.ndarray
    cuts: list[list[int]]
    tokens: int
    moves: bool
    widths: tuple[int, int]

    def micro_batches(self, process: int) -> Iterator[np.ndarray]:
        """Yield the rows of each micro-batch of a process, update by update."""
        for rows, cuts in zip(self.rows[:, process], self.cuts, strict=True):
            for first, end in zip(cuts, cuts[1:], strict=False):
                yield rows[first:end]

    def places(self, process: int) -> torch.Tensor:
        """Return the place of each completion that a process holds in the order of all work, `(completions,)`."""
        order = np.argsort(self.rows.transpose(1, 0, 2).reshape(-1))
        return torch.from_numpy(order.reshape(self.rows.shape[1], -1)[process])

    def fit(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Return a batch with the same columns on every process where completions move, and as it is otherwise."""
        return fitted(batch, *self.widths) if self.moves else batch

    def columns(self, process: int, mark: int = 0) -> dict[str, torch.Tensor]:
        """
        Return the plan of the completions that a process holds as columns of its batch.

        `place` is the place in the order of all work on the update, `micro_batch` the number of the micro-batch in the
        update. The others are scalars: the number of updates, that of the layout in `LAYOUTS`, whether completions
        move, and `mark`, which is the caller's.
        """
        updates, processes, size = self.rows.shape
        number = np.empty(self.rows.size, dtype=int)
        for rows, cuts in zip(self.rows, self.cuts, strict=True):
            number[rows] = np.searchsorted(cuts, np.arange(size), side="right") - 1
        worker, within = np.divmod(self.places(process).numpy(), updates * size)
        return {
            "place": torch.from_numpy(worker * size + within % size),
            "micro_batch": torch.from_numpy(number.reshape(processes, -1)[process]),
            "updates": torch.tensor(updates),
            "layout": torch.tensor(LAYOUTS.index(self.layout)),
            "moves": torch.tensor(self.moves),
            "mark": torch.tensor(mark),
        }


def without_plan(batch: dict[str, Any]) -> dict[str, Any]:
    """Return a batch without the columns of a plan."""
    return {name: column for name, column in batch.items() if name not in COLUMNS}


def make_plan(
    facts: torch.Tensor, position: torch.Tensor, updates: int, budget: Budget, accelerator: Accelerator
) -> Plan:
    """
    Return the cheapest plan for a rollout. All processes call this function together.

    Args:
        facts (`torch.Tensor` of shape `(completions, 3)`):
            For each completion of this process: tokens of its prompt, tokens of the completion, and a number that
            completions with the same prompt share.
        position (`torch.Tensor` of shape `(completions,)`):
            Position of each completion in TRL's order of this process. The completions of an update follow each other.
        updates (`int`):
            Number of updates for which the completions are cut.
        budget (`Budget`):
            Limits of a micro-batch.
        accelerator (`Accelerator`):
            The accelerator, whose processes share the work.

    Returns:
        `Plan`: the plan.
    """
    own = torch.cat([facts, position.to(facts).unsqueeze(1)], dim=1)
    table = accelerator.gather(own.to(accelerator.device)).view(accelerator.num_processes, *own.shape).cpu().numpy()
    plans = [_plan(table, updates, layout, budget) for layout in budget.layouts]
    return min(plans, key=lambda plan: plan.tokens)


def _plan(table: np.ndarray, updates: int, layout: str, budget: Budget) -> Plan:
    flat = table.reshape(-1, table.shape[2])
    prompt, completion = int(flat[:, PROMPT].max()), int(flat[:, COMPLETION].max())
    moves = len(table) > 1 and layout != "shared" and budget.parts is None
    # a process with one column per completion would keep it, and the others two; see `rows.py`
    widths = (prompt, max(completion, 2) if moves else completion)
    rows, cuts, tokens = [], [], 0
    for update in range(updates):
        order = _of_update(table, update, updates)
        if budget.parts is None:
            order = _by_prompt(flat, order) if layout == "shared" else _by_length(flat, order)
        lengths = Lengths(flat[order, PROMPT], flat[order, COMPLETION], _before(flat[order, SAME]))
        if budget.parts is None:
            is_given = budget.tokens is not None
            found = best_cuts(lengths, layout, budget.most(prompt, completion), budget.costs, is_given)
        else:
            found = equal_cuts(order.shape[1], budget.parts)
        rows.append(order)
        cuts.append(found)
        tokens += cost_of(lengths, layout, found, budget.costs)
    return Plan(layout, np.stack(rows), cuts, tokens, moves, widths)


def _of_update(table: np.ndarray, update: int, updates: int) -> np.ndarray:
    """Return the rows of an update on each process, in TRL's order."""
    size = table.shape[1] // updates
    order = np.argsort(table[:, :, POSITION], axis=1)[:, update * size : (update + 1) * size]
    return order + np.arange(len(table))[:, None] * table.shape[1]


def _by_length(flat: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Return the rows of all processes from the longest on, dealt out so that each process gets as many tokens."""
    rows = np.sort(order.reshape(-1))
    rows = rows[np.argsort(-(flat[rows, PROMPT] + flat[rows, COMPLETION]), kind="stable")].reshape(-1, len(order))
    rows[1::2] = rows[1::2, ::-1].copy()
    return rows.T


def _by_prompt(flat: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Return each process's rows prompt by prompt, from the prompt with the longest completion on."""
    result = []
    for rows in np.sort(order, axis=1):
        prompts, completions = flat[rows, SAME], flat[rows, COMPLETION]
        longest = np.zeros(int(prompts.max()) + 1, dtype=int)
        np.maximum.at(longest, prompts, completions)
        result.append(rows[np.lexsort((-completions, prompts, -longest[prompts]))])
    return np.stack(result)


def _before(same: np.ndarray) -> np.ndarray:
    """Return the position of the completion before each one that has the same prompt, -1 for none."""
    before = np.full(same.shape, -1)
    for process, numbers in enumerate(same):
        seen: dict[int, int] = {}
        for position, number in enumerate(numbers.tolist()):
            before[process, position] = seen.get(number, -1)
            seen[number] = position
    return before
