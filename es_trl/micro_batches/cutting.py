"""Where the completions of an update are cut into micro-batches, so that all of them together take the least time.

A micro-batch takes time for its tokens and some time of its own. Few cuts may leave much padding, and many cuts cost
their own time. The best cuts are found by dynamic programming over the completions in their order.
"""

from dataclasses import dataclass

import numpy as np


LAYOUTS = ("trimmed", "packed", "shared", "flash")  # see `layout.py`
SMALL = 24  # at this many times its own cost, a micro-batch is large enough: more tokens only take more memory


@dataclass(frozen=True)
class Costs:
    """
    What a micro-batch costs beside its tokens, as numbers of tokens.

    Args:
        micro_batch (`int`):
            The micro-batch itself.
        segment (`int`):
            Each segment whose attention is computed alone.
    """

    micro_batch: int
    segment: int


@dataclass(frozen=True)
class Lengths:
    """
    Completions of one update in their order on each process.

    All arrays have the shape `(processes, completions)`.

    Args:
        prompts (`np.ndarray`):
            Tokens of each prompt.
        completions (`np.ndarray`):
            Tokens of each completion.
        before (`np.ndarray`):
            Position of the completion before that has the same prompt, -1 for none.
    """

    prompts: np.ndarray
    completions: np.ndarray
    before: np.ndarray


def sizes_from(lengths: Lengths, first: int, layout: str) -> tuple[np.ndarray, np.ndarray]:
    """
    Return the sizes of the micro-batches that begin at `first`, for every end.

    Args:
        lengths (`Lengths`):
            The update.
        first (`int`):
            Position of the first completion.
        layout (`str`):
            A layout of `layout.py`.

    Returns:
        Two arrays of shape `(completions - first,)`: tokens with padding, and segments, each the most of any process.
        Entry k belongs to the micro-batch with k + 1 completions.
    """
    prompts, completions = lengths.prompts[:, first:], lengths.completions[:, first:]
    count = np.arange(1, prompts.shape[1] + 1)
    if layout == "trimmed":
        return (count * np.maximum.accumulate(prompts + completions, axis=1)).max(axis=0), np.zeros_like(count)
    if layout == "shared":
        is_new = lengths.before[:, first:] < first
        tokens, segments = completions + is_new * prompts, 1 + is_new
    else:
        tokens, segments = prompts + completions, np.full_like(prompts, layout == "packed")
    return np.cumsum(tokens, axis=1).max(axis=0), np.cumsum(segments, axis=1).max(axis=0)


def best_cuts(lengths: Lengths, layout: str, budget: int, costs: Costs) -> tuple[list[int], int]:
    """
    Return the cuts of an update that cost the least.

    Args:
        lengths (`Lengths`):
            The update.
        layout (`str`):
            A layout of `layout.py`.
        budget (`int`):
            Most tokens of a micro-batch, with padding. A single completion may have more.
        costs (`Costs`):
            What a micro-batch costs beside its tokens.

    Returns:
        The positions of the cuts from 0 to the number of completions, and the cost in tokens.
    """
    budget = min(budget, SMALL * costs.micro_batch)
    size = lengths.prompts.shape[1]
    cost, end = np.zeros(size + 1), np.zeros(size + 1, dtype=int)
    for first in reversed(range(size)):
        tokens, segments = sizes_from(lengths, first, layout)
        fits = max(int(np.searchsorted(tokens, budget, side="right")), 1)  # tokens grow with the number of completions
        own = tokens[:fits] + costs.micro_batch + costs.segment * segments[:fits]
        total = own + cost[first + 1 : first + 1 + fits]
        best = int(total.argmin())
        cost[first], end[first] = total[best], first + 1 + best
    cuts = [0]
    while cuts[-1] < size:
        cuts.append(int(end[cuts[-1]]))
    return cuts, int(cost[0])


def equal_cuts(size: int, parts: int) -> list[int]:
    """Return the cuts of `size` completions into `parts` micro-batches with the same number of completions."""
    assert size % parts == 0, f"{size} completions cannot be cut into {parts} equal parts"
    return list(range(0, size + 1, size // parts))


def cost_of(lengths: Lengths, layout: str, cuts: list[int], costs: Costs) -> int:
    """Return the cost in tokens of the micro-batches between the given cuts."""
    total = 0
    for first, end in zip(cuts, cuts[1:], strict=False):
        tokens, segments = (sizes[end - first - 1] for sizes in sizes_from(lengths, first, layout))
        total += int(tokens + costs.micro_batch + costs.segment * segments)
    return total
