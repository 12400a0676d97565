"""Rows of a dataset and their columns, also nested ones, with the values of the file."""

import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import Dataset, List, Value
from transformers.utils import logging

from ..common.nearest import nearest


logger = logging.get_logger(__name__)

CANNOT_HOLD = (pa.ArrowException, OverflowError, UnicodeEncodeError)  # from Arrow
_MISSING = object()


@dataclass(frozen=True)
class Rows:
    """Chosen rows of a dataset."""

    name: str  # for messages
    source: dict[str, list[Any]] | Dataset  # all rows of every column: Python's own values, or Arrow's
    numbers: Sequence[int]  # of the chosen rows, counted from 0 in `source`

    @property
    def names(self) -> list[str]:
        return self.source.column_names if isinstance(self.source, Dataset) else list(self.source)

    def find(self, name: str) -> list[Any] | None:
        """Return one value per row of a column, or of its field as `a.b`; `None` where no row has such a column."""
        parts = name.split(".")
        splits = [(".".join(parts[:at]), ".".join(parts[at:])) for at in range(len(parts), 0, -1)]
        top, path = next((split for split in splits if split[0] in self.names), ("", ""))
        values = [_field(value, path) for value in self.source[top][:]] if top in self.names else []
        if all(value is _MISSING for value in values):
            return None
        precision = _precision(self.source.features[top], path) if isinstance(self.source, Dataset) else None
        if precision is not None:
            values = [_shortest(value, precision) for value in values]
        return [None if values[row] is _MISSING else values[row] for row in self.numbers]

    def column(self, name: str, advice: str = "rename a column, or set prompt_column or answer_column") -> list[Any]:
        """Return one value per row as [`Rows.find`]; raise a ValueError where no row has such a column."""
        values = self.find(name)
        if values is None:
            # names that a recipe can use: columns, or the fields that a mapping has in the first row
            known = leaf_names({name: next(iter(self.source[name]), None) for name in self.names})
            has = f"has no column {name!r}{nearest(name, known)}; it has {', '.join(known)}"
            raise ValueError(f"the dataset {self.name} {has}: {advice}")
        return values

    def filled(self, name: str) -> list[Any]:
        """Return the values of a column; raise a ValueError that names the first row without one."""
        values = self.column(name)
        fault = f"has no {name!r}: fill it in, or drop the row"
        self.refuse({place: fault for place, value in enumerate(values) if value is None})
        return values

    def refuse(self, faults: Mapping[int, str]) -> None:
        """Raise for the first of the `faults`, which are ends of sentences about rows by their place in these rows."""
        if faults:
            place = min(faults)
            more = f" ({len(faults)} rows are refused, and this is the first)" if len(faults) > 1 else ""
            raise ValueError(f"row {self.numbers[place]} of {self.name} {faults[place]}{more}")

    def to_dataset(self, asked: Sequence[str] = ()) -> Dataset:
        """
        Return all columns, and the nested ones of `asked` under their full name. Mixed types become JSON.

        A column that `datasets` cannot hold is refused if it is in `asked`. Otherwise it is left out, which is logged.
        """
        nested = [name for name in dict.fromkeys(asked) if name not in self.names]
        if isinstance(self.source, Dataset):
            dataset = self.source.select(self.numbers) if len(self.numbers) < len(self.source) else self.source
            for name in nested:
                dataset = dataset.add_column(name, self.column(name))
            return dataset
        arrays = {name: _as_arrow(self.column(name)) for name in [*self.names, *nested]}
        left_out = [name for name, array in arrays.items() if array is None]
        for name in set(asked).intersection(left_out):
            has = "has numbers that are too large, or text that is no Unicode"
            raise ValueError(f"the column {name!r} of {self.name} {has}: write such numbers as text in every row")
        if left_out:
            logger.warning(f"the columns {', '.join(left_out)} of {self.name} are left out: Arrow cannot hold them")
        return Dataset(pa.table({name: array for name, array in arrays.items() if array is not None}))


def leaf_names(value: Any, prefix: str = "") -> list[str]:
    """Return the names of the fields in a mapping, `a.b` for the field `b` of `a`."""
    if not isinstance(value, dict) or not value:
        return [prefix] if prefix else []
    return [name for key, inner in value.items() for name in leaf_names(inner, f"{prefix}.{key}".removeprefix("."))]


def is_unicode(text: str) -> bool:
    """Return whether a text can be written as UTF-8. JSON's `\\ud800` cannot."""
    return text.encode(errors="ignore").decode() == text


def _field(value: Any, path: str) -> Any:
    """Return the field `a.b` of a mapping, or `_MISSING`; an empty `path` returns the mapping itself."""
    while path:
        if not isinstance(value, dict):
            return _MISSING
        if path in value:
            return value[path]
        head, _, path = path.partition(".")
        value = value.get(head, _MISSING)
    return value


def _as_arrow(values: list[Any]) -> pa.Array | None:
    """Return the values as an Arrow array, or as JSON where types are mixed; `None` where neither can hold them."""
    with contextlib.suppress(*CANNOT_HOLD):
        return pa.array(values)
    try:
        texts = [None if value is None else json.dumps(value) for value in values]
        array = pa.array(texts, pa.string()).cast(pa.json_())
        return array if Dataset(pa.table({"values": array}))["values"][:] == values else None
    except (*CANNOT_HOLD, ValueError):
        return None


def _precision(feature: Any, path: str) -> type[np.floating] | None:
    """Return the type of a column, or of its field `path`, if it holds floats of 16 or 32 bits, or lists of these."""
    for key in path.split(".") if path else ():
        feature = feature.get(key) if isinstance(feature, dict) else None
    while isinstance(feature, List):
        feature = feature.feature
    kinds = {"float16": np.float16, "float32": np.float32}
    return kinds.get(feature.dtype) if isinstance(feature, Value) else None


def _shortest(value: Any, precision: type[np.floating]) -> Any:
    """Return a 16- or 32-bit float with its fewest digits: 0.1 instead of 0.10000000149011612."""
    if isinstance(value, list):
        return [_shortest(inner, precision) for inner in value]
    return float(str(precision(value))) if isinstance(value, float) else value
