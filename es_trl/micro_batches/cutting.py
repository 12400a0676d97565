"""Where the completions of an update are cut into micro-batches, so that all of them together take the least time.

A micro-batch takes time for its tokens and some time of its own. With padding, few cuts leave much of it and many cuts
cost their own time, so the best ones are found by dynamic programming. Without padding, the fewest cuts are the best.
"""

from dataclasses import dataclass

import numpy as np


LAYOUTS = ("trimmed", "masked", "packed", "shared", "flash")  # see `layout.py`
PADDED = LAYOUTS[:2]
COPIED = 8  # each completion copies the keys and values of its shared prompt: 8 copied tokens take the memory of one
LARGE_ENOUGH = 16  # times its own cost: with more tokens, a micro-batch only takes more memory


def about(length: int) -> int:
    """Return `length` rounded up by at most a quarter, so that few different lengths remain; 8 at least."""
    step = max(2 ** (length.bit_length() - 3), 8)
    return -(-length // step) * step


@dataclass(frozen=True)
class Costs:
    """
    What a micro-batch costs beside its tokens, as numbers of tokens.

    Args:
        micro_batch (`int`):
            The micro-batch itself.
        attention (`int`):
            Each call of the attention of all layers, of which a row of segments needs several.
        masked_pair (`float`, *optional*, defaults to `0.0`):
            A pair of tokens that attention computes and masks. Completions that share a prompt need a mask.
    """

    micro_batch: int
    attention: int
    masked_pair: float = 0.0


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

    @property
    def size(self) -> int:
        """The number of completions on each process."""
        return self.prompts.shape[1]

    def tokens_from(self, first: int, layout: str) -> np.ndarray:
        """
        Return the tokens of the micro-batches that begin at `first`, for every end.

        Returns:
            `np.ndarray` of shape `(completions - first,)`: tokens with padding, the most of any process. Entry k
            belongs to the micro-batch with k + 1 completions.
        """
        prompts, completions = self.prompts[:, first:], self.completions[:, first:]
        if layout in PADDED:
            longest = np.maximum.accumulate(prompts + completions, axis=1).max(axis=0)
            return longest * np.arange(1, len(longest) + 1)
        own = np.where(self.before[:, first:] < first, prompts, 0) if layout == "shared" else prompts
        return np.cumsum(own + completions, axis=1).max(axis=0)

    def memory_from(self, first: int, layout: str) -> np.ndarray:
        """Return the same, with the keys and values of shared prompts, which are copied for each completion."""
        copied = self.prompts[:, first:] // COPIED if layout == "shared" else np.zeros_like(self.prompts[:, first:])
        return self.tokens_from(first, layout) + np.cumsum(copied, axis=1).max(axis=0)

    def attentions(self, first: int, end: int, layout: str) -> int:
        """Return the calls of the attention that a micro-batch needs, the most of any process."""
        if layout in (*PADDED, "flash"):
            return 1
        counts = []
        for prompts, completions in zip(self.prompts[:, first:end], self.completions[:, first:end], strict=True):
            if layout == "packed":
                counts.append(len(set(map(about, (prompts + completions).tolist()))))
            else:
                pairs = set(zip(prompts.tolist(), map(about, completions.tolist()), strict=True))
                counts.append(len(pairs) + len({prompt for prompt, _ in pairs}))
        return max(counts)


def best_cuts(lengths: Lengths, layout: str, budget: int, costs: Costs, is_given: bool = False) -> list[int]:
    """
    Return the positions of the cuts that cost the least, from 0 to the number of completions.

    Args:
        lengths (`Lengths`):
            The update.
        layout (`str`):
            One of `LAYOUTS`.
        budget (`int`):
            Most tokens of a micro-batch, with padding. A single completion may have more.
        costs (`Costs`):
            What a micro-batch costs beside its tokens.
        is_given (`bool`, *optional*, defaults to `False`):
            Whether the user gave the budget. If not, a micro-batch is no larger than saves time.
    """
    enough = budget if is_given else LARGE_ENOUGH * costs.micro_batch
    if layout in PADDED:
        return _cuts_of_least_padding(lengths, min(budget, enough), costs.micro_batch)
    fewest = _fewest_cuts(lengths, layout, budget, enough)
    # The same number of micro-batches, as equal as they can be, takes the least memory. Completions cannot be divided,
    # so the mean alone may need one micro-batch more, and a tenth or two of room are tried.
    tokens = sum(int(lengths.tokens_from(a, layout)[b - a - 1]) for a, b in zip(fewest, fewest[1:], strict=False))
    shares = (min(int(share * tokens / (len(fewest) - 1)), enough) for share in (1.0, 1.1, 1.2))
    equal = (_fewest_cuts(lengths, layout, budget, share) for share in shares)
    return next((cuts for cuts in equal if len(cuts) == len(fewest)), fewest)


def _fewest_cuts(lengths: Lengths, layout: str, budget: int, enough: int) -> list[int]:
    cuts = [0]
    while cuts[-1] < lengths.size:
        memory, tokens = lengths.memory_from(cuts[-1], layout), lengths.tokens_from(cuts[-1], layout)
        fits = min(int(np.searchsorted(sizes, most, "right")) for sizes, most in ((memory, budget), (tokens, enough)))
        cuts.append(cuts[-1] + max(fits, 1))
    return cuts


def _cuts_of_least_padding(lengths: Lengths, budget: int, own_cost: int) -> list[int]:
    longest = (lengths.prompts + lengths.completions).max(axis=0).tolist()
    size = len(longest)
    cost, end = [0] * (size + 1), [0] * size
    for first in reversed(range(size)):
        width, choices = 0, []
        for stop in range(first + 1, size + 1):
            width = max(width, longest[stop - 1])
            tokens = width * (stop - first)
            if tokens > budget and choices:
                break
            choices.append((tokens + own_cost + cost[stop], stop))
        cost[first], end[first] = min(choices)
    cuts = [0]
    while cuts[-1] < size:
        cuts.append(end[cuts[-1]])
    return cuts


def equal_cuts(size: int, parts: int) -> list[int]:
    """Return the cuts of `size` completions into `parts` micro-batches with the same number of completions."""
    assert size % parts == 0, f"{size} completions cannot be cut into {parts} equal parts"
    return list(range(0, size + 1, size // parts))


def cost_of(lengths: Lengths, layout: str, cuts: list[int], costs: Costs) -> int:
    """Return the cost in tokens of the micro-batches between the given cuts."""
    total = 0
    for first, end in zip(cuts, cuts[1:], strict=False):
        tokens = int(lengths.tokens_from(first, layout)[end - first - 1])
        total += tokens + costs.micro_batch + costs.attention * lengths.attentions(first, end, layout)
    if layout == "shared":
        pairs = lengths.completions * (lengths.completions + lengths.prompts) // 2
        total += int(costs.masked_pair * pairs.sum(axis=1).max())
    return total
