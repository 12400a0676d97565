"""Where the completions of an update are cut into micro-batches, so that all of them together take the least time.

A micro-batch takes time for its tokens and some time of its own. Few cuts leave much padding, and many cuts cost their
own time. The best cuts are found by dynamic programming over the completions in their order.
"""

from dataclasses import dataclass

import numpy as np


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


def tokens_from(lengths: Lengths, first: int, layout: str) -> np.ndarray:
    """
    Return the tokens of the micro-batches that begin at `first`, for every end.

    Args:
        lengths (`Lengths`):
            The update.
        first (`int`):
            Position of the first completion.
        layout (`str`):
            `"trimmed"`, `"packed"` or `"shared"`.

    Returns:
        `np.ndarray` of shape `(completions - first,)`: tokens with padding, the most of any process. Entry k belongs
        to the micro-batch with k + 1 completions.
    """
    prompts, completions = lengths.prompts[:, first:], lengths.completions[:, first:]
    if layout == "packed":
        return np.cumsum(prompts + completions, axis=1).max(axis=0)
    count = np.arange(1, prompts.shape[1] + 1)
    if layout == "trimmed":
        return (count * np.maximum.accumulate(prompts + completions, axis=1)).max(axis=0)
    assert layout == "shared", layout
    # the last token of a prompt is computed with each of its completions, because it predicts their first tokens
    distinct = np.cumsum(lengths.before[:, first:] < first, axis=1)
    prefixes = distinct * np.maximum.accumulate(prompts - 1, axis=1)
    return (prefixes + count * (np.maximum.accumulate(completions, axis=1) + 1)).max(axis=0)


def best_cuts(lengths: Lengths, layout: str, budget: int, overhead: int) -> tuple[list[int], int]:
    """
    Return the cuts of an update that cost the least.

    Args:
        lengths (`Lengths`):
            The update.
        layout (`str`):
            As in [`tokens_from`].
        budget (`int`):
            Most tokens of a micro-batch, with padding. A single completion may have more.
        overhead (`int`):
            Time of a micro-batch beside that of its tokens, as a number of tokens.

    Returns:
        The positions of the cuts from 0 to the number of completions, and the cost in tokens.
    """
    size = lengths.prompts.shape[1]
    cost, end = np.zeros(size + 1), np.zeros(size + 1, dtype=int)
    for first in reversed(range(size)):
        tokens = tokens_from(lengths, first, layout)
        fits = max(int(np.searchsorted(tokens, budget, side="right")), 1)  # tokens grow with the number of completions
        costs = tokens[:fits] + overhead + cost[first + 1 : first + 1 + fits]
        best = int(costs.argmin())
        cost[first], end[first] = costs[best], first + 1 + best
    cuts = [0]
    while cuts[-1] < size:
        cuts.append(int(end[cuts[-1]]))
    return cuts, int(cost[0])


def equal_cuts(size: int, parts: int) -> list[int]:
    """Return the cuts of `size` completions into `parts` micro-batches with the same number of completions."""
    assert size % parts == 0, f"{size} completions cannot be cut into {parts} equal parts"
    return list(range(0, size + 1, size // parts))


def cost_of(lengths: Lengths, cuts: list[int], layout: str) -> int:
    """Return the tokens with padding of the micro-batches between the given cuts."""
    return sum(
        int(tokens_from(lengths, first, layout)[end - first - 1]) for first, end in zip(cuts, cuts[1:], strict=False)
    )
