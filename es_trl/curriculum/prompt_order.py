"""The order of prompts: the rows and datasets that the rollouts draw."""

from dataclasses import dataclass, field
from typing import Any

import torch


@dataclass
class ShuffledPasses:
    """
    The row order of one dataset, in shuffled passes over all its rows.

    The same seed gives the same prompts as TRL's `RepeatSampler`. A draw never spans two passes: if too few rows are
    left in a pass, they are skipped and a new pass begins.
    """

    size: int  # number of rows
    seed: int
    shuffle: bool
    passes: int = field(default=0, init=False)  # finished passes
    position: int = field(default=0, init=False)  # rows drawn from the present pass
    last: list[int] = field(default_factory=list, init=False)  # rows that were put at the end of the present pass

    def __post_init__(self) -> None:
        self._generator = torch.Generator().manual_seed(self.seed)
        self._order = self._draw_order()

    def draw(self, count: int, avoid: set[int]) -> list[int]:
        """Return the next `count` rows. If they begin a new pass, the rows in `avoid` are put at its end."""
        if self.position + count > self.size:
            self.passes, self.position, self.last = self.passes + 1, 0, sorted(avoid)
            self._order = self._put_last(self._draw_order())
        rows = self._order[self.position : self.position + count]
        self.position += count
        return rows

    def _draw_order(self) -> list[int]:
        return torch.randperm(self.size, generator=self._generator).tolist() if self.shuffle else [*range(self.size)]

    def _put_last(self, order: list[int]) -> list[int]:
        late = set(self.last)
        return sorted(order, key=late.__contains__)  # `sorted` is stable, so the other rows keep their order

    def state_dict(self) -> dict[str, Any]:
        """Return the state as JSON values."""
        return {"passes": self.passes, "position": self.position, "last": self.last}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a saved state of the same dataset."""
        self.__post_init__()
        for _ in range(state["passes"]):
            self._order = self._draw_order()
        self.passes, self.position, self.last = state["passes"], state["position"], state["last"]
        self._order = self._put_last(self._order)


class PromptOrder:
    """
    The order of prompts of a run, which is the same on every process.

    - It depends only on the seed and on the earlier draws.
    - Datasets are mixed by their weights: after n prompts of a stage, each dataset has given its share of n, to within
      one or two prompts.
    - A dataset goes on in a later stage where it stopped.
    - A rollout draws a prompt twice, or draws a prompt that it has replaced, only if no others are left.

    Args:
        sizes (`dict[str, int]`):
            Number of rows of each dataset.
        seed (`int`):
            Seed of the shuffling.
        shuffle (`bool`, *optional*, defaults to `True`):
            Whether rows are shuffled.
    """

    def __init__(self, sizes: dict[str, int], seed: int, shuffle: bool = True) -> None:
        self._source = {"sizes": sizes, "seed": seed, "shuffle": shuffle}
        self._sets = {name: ShuffledPasses(size, seed + i, shuffle) for i, (name, size) in enumerate(sizes.items())}
        self.enter({})
        self.begin_rollout()

    def enter(self, weights: dict[str, float]) -> None:
        """Begin a stage with these weights of the datasets."""
        self._weights, self._given = weights, dict.fromkeys(weights, 0)

    def begin_rollout(self) -> None:
        """Begin a rollout, which may draw the prompts of earlier rollouts again."""
        self._drawn: dict[str, set[int]] = {name: set() for name in self._sets}

    def draw(self, count: int) -> list[tuple[str, int]]:
        """Return the next `count` prompts, each as the name of a dataset and a row."""
        places = []
        for name, share in self._shares(count).items():
            rows = self._sets[name].draw(share, self._drawn[name])
            self._drawn[name].update(rows)
            self._given[name] += share
            places += [(name, row) for row in rows]
        return places

    def _shares(self, count: int) -> dict[str, int]:
        """Return how many of `count` prompts each dataset gives; the next one comes from the one that owes most."""
        shares = dict.fromkeys(self._weights, 0)
        before = sum(self._given.values())
        for number in range(before + 1, before + count + 1):
            owed = {name: weight * number - self._given[name] - shares[name] for name, weight in self._weights.items()}
            shares[max(owed, key=owed.__getitem__)] += 1
        return shares

    def state_dict(self) -> dict[str, Any]:
        """Return the state as JSON values. The rows that the present rollout has drawn are not part of it."""
        sets = {name: own.state_dict() for name, own in self._sets.items()}
        return {"source": self._source, "sets": sets, "weights": self._weights, "given": self._given}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a saved state; raise `ValueError` if its data, seed or weights differ from those of this run."""
        saved = {**state["source"], "weights": state["weights"]}
        for name, own in {**self._source, "weights": self._weights}.items():
            if saved[name] != own:
                raise ValueError(
                    f"the checkpoint's order of prompts has {name} {saved[name]} but this run has {own}: resume with "
                    "the data, seed and stages that wrote it, or start a new run with the checkpoint as the model"
                )
        for name, own_set in self._sets.items():
            own_set.load_state_dict(state["sets"][name])
        self._given = dict(state["given"])
