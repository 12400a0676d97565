"""Rows of a rollout that are read once, not once per micro-batch as TRL's data loader asks for them."""

from typing import Any

import torch.utils.data
from datasets import Dataset


class PlainRows(list):
    """Rows without tensors, which accelerate need not search for tensors to move."""

    def to(self, device: Any, **_: Any) -> "PlainRows":
        """Return the rows themselves: they have nothing that is on a device."""
        return self


class ReadOnce(torch.utils.data.Dataset):
    """
    A view of a dataset that reads the rows of a rollout once and hands them out once per micro-batch.

    TRL's sampler repeats the indices of a rollout in each of its micro-batches, but only the first of them is used.
    Each process of a data loader has its own memory, of one rollout.

    Args:
        dataset (`Dataset`):
            The rows.
        uses (`int`):
            Micro-batches per rollout. After so many, rows are read again.
    """

    def __init__(self, dataset: Dataset, uses: int):
        self._dataset, self._uses = dataset, uses
        self._indices: list[int] = []
        self._rows: list[dict[str, Any]] = []
        self._left = 0  # micro-batches that the rows in memory may still serve

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self._dataset[index]

    def __getitems__(self, indices: list[int]) -> list[dict[str, Any]]:
        """Return the rows as shallow copies, so that a change of one does not reach the next micro-batch."""
        if self._left == 0 or indices != self._indices:
            self._rows, self._indices = self._dataset.__getitems__(indices), list(indices)
            self._left = self._uses
        self._left -= 1
        kind = PlainRows if self._dataset.format["type"] is None else list  # other formats may hold tensors
        return kind(dict(row) for row in self._rows)


def read_once(dataset: Any, uses: int) -> Any:
    """Return a [`ReadOnce`] view of a dataset with a length; a stream is returned as it is, its rows are read once."""
    return ReadOnce(dataset, uses) if isinstance(dataset, Dataset) else dataset
