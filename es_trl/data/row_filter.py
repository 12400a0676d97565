"""Rows of a dataset whose numbers are within bounds."""

import math
from dataclasses import replace
from decimal import Decimal
from typing import Any

from ..common.shown import shown
from .rows import Rows


EXAMPLE = "{level: [0, 2]}"


def filter_rows(rows: Rows, bounds: dict[str, Any]) -> Rows:
    """Return the rows whose numbers lie within the bounds `[low, high]` of each column; `None` leaves an end open."""
    for column, ends in bounds.items():
        if not (isinstance(ends, list | tuple) and len(ends) == 2 and all(_is_number(e) or e is None for e in ends)):
            must = f"set the least and the greatest value to keep, as {EXAMPLE}"
            raise ValueError(f"`dataset_filter` has {ends!r} for {column!r}: {must}")
        values = rows.column(str(column), "name one of these in dataset_filter")
        wrong = [value for value in values if not (_is_number(value) or value is None)]
        if wrong:
            must = f"must name a column of numbers, but {column!r} of {rows.name} holds {shown(wrong[0])}"
            raise ValueError(f"`dataset_filter` {must}: choose another column")
        low, high = -math.inf if ends[0] is None else ends[0], math.inf if ends[1] is None else ends[1]
        kept = [place for place, value in enumerate(values) if value is not None and low <= value <= high]
        if not kept:
            there = [value for value in values if value is not None]
            span = f"goes from {min(there)} to {max(there)} there" if there else "holds no number there"
            span = f"{column!r} {span}, and the filter keeps {low} to {high}"
            raise ValueError(f"`dataset_filter` keeps no row of {rows.name}: {span}: widen it")
        rows = replace(rows, numbers=[rows.numbers[place] for place in kept])
    return rows


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)
