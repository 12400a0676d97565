"""Rows of a data set and their columns, nested ones too, with values as their file has them."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import pyarrow as pa
from datasets import Dataset, List, Value
from transformers.utils import logging

from ..common.nearest import nearest


logger = logging.get_logger(__name__)

_MISSING = object()
_CANNOT_HOLD = (pa.ArrowException, OverflowError, UnicodeEncodeError)


@dataclass(frozen=True)
class Rows:
    """
    Rows of a data set, chosen by their numbers.

    Args:
        name (`str`):
            Of the data set, for messages.
        source (`dict[str, list]` or `Dataset`):
            Every column by its name, with all rows: Python's own values, or Arrow's.
        numbers (`Sequence[int]`):
            Which rows these are, counted from 0 in `source`.
    """

    name: str
    source: dict[str, list[Any]] | Dataset
    numbers: Sequence[int]

    @property
    def names(self) -> list[str]:
        return self.source.column_names if isinstance(self.source, Dataset) else list(self.source)

    def find(self, name: str) -> list[Any] | None:
        """
        The values of a column, one per row, or `None` where no row has such a column.

        Args:
            name (`str`):
                Of a column, or `a.b` for the field `b` of the column `a`; a row without the field has `None`.
        """
        parts = name.split(".")
        splits = ((".".join(parts[:at]), ".".join(parts[at:])) for at in range(len(parts), 0, -1))
        top, path = next((split for split in splits if split[0] in self.names), (None, ""))
        values = [] if top is None else self.source[top][:]
        if path:
            values = [_field(value, path) for value in values]
        if all(value is _MISSING for value in values):
            return None
        precision = _precision(self.source.features[top], path) if isinstance(self.source, Dataset) else None
        if precision is not None:
            values = [_shortest(value, precision) for value in values]
        return [None if values[row] is _MISSING else values[row] for row in self.numbers]

    def column(self, name: str) -> list[Any]:
        """As [`Rows.find`], but raise a ValueError where no row has such a column."""
        values = self.find(name)
        if values is None:
            known = self.leaf_names()
            raise ValueError(
                f"the data set {self.name} has no column {name!r}{nearest(name, known)}; it has {', '.join(known)}: "
                "rename a column, or set prompt_column or answer_column"
            )
        return values

    def filled(self, name: str) -> list[Any]:
        """The values of a column that every row has; ValueError names the first row that lacks it."""
        values = self.column(name)
        lacking = f"has no {name!r}: fill it in, or drop the row"
        self.refuse({at: lacking for at, value in enumerate(values) if value is None})
        return values

    def select(self, places: Iterable[int]) -> "Rows":
        """The rows at these places among these rows."""
        return Rows(self.name, self.source, [self.numbers[place] for place in places])

    def refuse(self, faults: Mapping[int, str]) -> None:
        """
        Raise for rows that cannot be used, unless there is none.

        Args:
            faults (`dict[int, str]`):
                Place among these rows to the rest of a sentence that begins with the row.
        """
        if faults:
            place = min(faults)
            more = f" ({len(faults)} rows are refused, and this is the first)" if len(faults) > 1 else ""
            raise ValueError(f"row {self.numbers[place]} of {self.name} {faults[place]}{more}")

    def to_dataset(self, asked: Sequence[str] = ()) -> Dataset:
        """
        All columns as a `Dataset`, nested ones that are asked for beside them under their full name.

        Columns of mixed types are stored as JSON. Those that are not asked for and that `datasets` cannot hold are left
        out, with one line in the log.

        Raises:
            ValueError: for a column that is asked for and that `datasets` cannot hold.
        """
        nested = [name for name in dict.fromkeys(asked) if name not in self.names]
        if isinstance(self.source, Dataset):
            dataset = self.source
            if len(self.numbers) < len(dataset):
                dataset = dataset.select(self.numbers)
            for name in nested:
                dataset = dataset.add_column(name, self.column(name))
            return dataset
        arrays = {name: _as_arrow(self.column(name)) for name in [*self.names, *nested]}
        left_out = [name for name, array in arrays.items() if array is None]
        for name in left_out:
            if name in asked:
                self._refuse_mixed(name)
        if left_out:
            logger.warning(f"the columns {', '.join(left_out)} of {self.name} are left out: Arrow cannot hold them")
        return Dataset(pa.table({name: array for name, array in arrays.items() if array is not None}))

    def _refuse_mixed(self, name: str) -> NoReturn:
        raise ValueError(
            f"the column {name!r} of {self.name} holds numbers that are too large, or text that is not valid Unicode, "
            "and a data set cannot hold these: write such numbers as text in every row"
        )

    def leaf_names(self) -> list[str]:
        """What a recipe can name: the columns, and in place of mappings their fields, as the first row has them."""
        return leaf_names({name: next(iter(self.source[name]), None) for name in self.names})


def leaf_names(value: Any, prefix: str = "") -> list[str]:
    """The names of what a mapping holds, `a.b` for the field `b` of `a`."""
    if not isinstance(value, dict) or not value:
        return [prefix] if prefix else []
    return [
        name for key, inner in value.items() for name in leaf_names(inner, f"{prefix}.{key}" if prefix else str(key))
    ]


def shown(value: Any) -> str:
    """A value for a message, in at most 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def is_unicode(text: str) -> bool:
    """Whether a text can be written as UTF-8: JSON's `\\ud800` alone cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _field(value: Any, path: str) -> Any:
    """What a mapping holds under `a.b`; `_MISSING` where it has no such field."""
    while path:
        if not isinstance(value, dict):
            return _MISSING
        if path in value:
            return value[path]
        head, _, path = path.partition(".")
        value = value.get(head, _MISSING)
    return value


def _as_arrow(values: list[Any]) -> pa.Array | None:
    """The values as Arrow has them, or as JSON where their types are mixed; `None` where neither gives them back."""
    try:
        return pa.array(values)
    except _CANNOT_HOLD:
        pass
    try:
        texts = [None if value is None else json.dumps(value) for value in values]
        array = pa.array(texts, pa.string()).cast(pa.json_())
        return array if Dataset(pa.table({"values": array}))["values"][:] == values else None
    except (*_CANNOT_HOLD, ValueError):
        return None


def _precision(feature: Any, path: str) -> type[np.floating] | None:
    """The type of a column, or of its field `path`, that holds floats of 16 or 32 bits, or lists of these."""
    for key in path.split(".") if path else ():
        feature = feature.get(key) if isinstance(feature, dict) else None
    while isinstance(feature, List):
        feature = feature.feature
    kinds = {"float16": np.float16, "float32": np.float32}
    return kinds.get(feature.dtype) if isinstance(feature, Value) else None


def _shortest(value: Any, precision: type[np.floating]) -> Any:
    """The float64 of the fewest digits that stand for a shorter float: 0.1, where Python has 0.10000000149011612."""
    if isinstance(value, list):
        return [_shortest(inner, precision) for inner in value]
    return float(str(precision(value))) if isinstance(value, float) else value
