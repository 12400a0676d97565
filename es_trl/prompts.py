"""The order of prompts: which rows of which data set every rollout answers."""

from dataclasses import dataclass, field
from typing import Any

import torch


@dataclass
class ShuffledPasses:
    """
    One data set, dealt in shuffled passes over all its rows.

    The order is that of TRL's `RepeatSampler`: the same seed gives the same prompts. A draw does not reach over the end
    of a pass, so that no rollout has a prompt twice; the rows left over there wait for the next pass.

    Args:
        size (`int`):
            Rows of the data set.
        seed (`int`):
            Of the shuffle.
        shuffle (`bool`):
            Whether rows are shuffled; their own order otherwise.
    """

    size: int
    seed: int
    shuffle: bool
    passes: int = field(default=0, init=False)
    position: int = field(default=0, init=False)

    def __post_init__(self):
        self._generator = torch.Generator().manual_seed(self.seed)
        self._order = self._draw_order()

    def draw(self, count: int) -> list[int]:
        """The next `count` rows."""
        if self.position + count > self.size:
            self.passes, self.position = self.passes + 1, 0
            self._order = self._draw_order()
        rows = self._order[self.position : self.position + count]
        self.position += count
        return rows

    def _draw_order(self) -> list[int]:
        return torch.randperm(self.size, generator=self._generator).tolist() if self.shuffle else [*range(self.size)]

    def go_to(self, passes: int, position: int) -> None:
        """Go on where another one was."""
        self.__post_init__()
        for _ in range(passes):
            self._order = self._draw_order()
        self.passes, self.position = passes, position


class PromptOrder:
    """
    The order of prompts of a run: a function of the seed and of what was drawn before, the same on every process.

    Data sets are mixed by their weights: after n prompts of a stage each has given its share of n, to within one
    prompt. A data set goes on in a later stage where it was left.

    Args:
        sizes (`dict[str, int]`):
            Rows of every data set, by name.
        seed (`int`):
            Of the shuffles.
        shuffle (`bool`):
            Whether rows are shuffled.
    """

    def __init__(self, sizes: dict[str, int], seed: int, shuffle: bool = True):
        self._sets = {name: ShuffledPasses(size, seed + i, shuffle) for i, (name, size) in enumerate(sizes.items())}
        self._drawn: dict[str, int] = {}

    def enter(self, weights: dict[str, float]) -> None:
        """Begin a stage, whose mixture is `weights`."""
        self._weights = weights
        self._drawn = dict.fromkeys(weights, 0)

    def draw(self, count: int) -> list[tuple[str, int]]:
        """The next `count` prompts, each a data set's name and a row."""
        shares = dict.fromkeys(self._weights, 0)
        for number in range(sum(self._drawn.values()) + 1, sum(self._drawn.values()) + count + 1):
            owed = {name: weight * number - self._drawn[name] - shares[name] for name, weight in self._weights.items()}
            shares[max(owed, key=owed.__getitem__)] += 1
        rows = []
        for name, share in shares.items():
            self._drawn[name] += share
            rows += [(name, row) for row in self._sets[name].draw(share)]
        return rows

    def state_dict(self) -> dict[str, Any]:
        """The state as JSON values."""
        return {
            "sets": {name: [own.size, own.passes, own.position] for name, own in self._sets.items()},
            "drawn": self._drawn,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """
        Take up a saved state; called after [`enter`].

        Raises:
            ValueError: where it is of other data sets.
        """
        sizes = {name: own.size for name, own in self._sets.items()}
        saved = {name: size for name, (size, _, _) in state["sets"].items()}
        if sizes != saved or state["drawn"].keys() != self._drawn.keys():
            raise ValueError(
                f"the checkpoint was written with data sets of these sizes: {saved}, and this run has {sizes}: resume "
                "with the data and the stages that wrote it, or start a new run with the checkpoint as the model"
            )
        for name, (_, passes, position) in state["sets"].items():
            self._sets[name].go_to(passes, position)
        self._drawn = dict(state["drawn"])
