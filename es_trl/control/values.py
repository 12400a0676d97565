"""Checks of single values. Each message states the allowed values, the given value and a value to set."""

from collections.abc import Sequence
from math import inf, isfinite
from numbers import Integral, Real
from typing import Any


def is_number(value: Any) -> bool:
    """Return whether `value` is a finite real number."""
    return isinstance(value, Real) and not isinstance(value, bool) and isfinite(value)


def check_number(
    name: str, value: Any, fix: str, *, above: float = -inf, least: float = -inf, below: float = inf, most: float = inf
) -> None:
    """
    Raise `ValueError` unless `value` is a finite number, > `above`, >= `least`, < `below` and <= `most`.

    `name` is the name of the value, and `fix` says what to set instead, for example "0.2".
    """
    if is_number(value) and value > above and value >= least and value < below and value <= most:
        return
    limits = {">": above, ">=": least, "<": below, "<=": most}
    words = " and ".join(f"{sign} {limit:g}" for sign, limit in limits.items() if isfinite(limit))
    raise ValueError(f"`{name}` must be a finite number{words and ' '}{words}, got {value!r}: set {fix}")


def check_count(name: str, value: Any, least: int, most: int | None = None) -> None:
    """Raise `ValueError` unless `value` is a whole number (of Python or NumPy) from `least` to `most`."""
    whole = isinstance(value, Integral) and not isinstance(value, bool)
    if not whole or value < least or (most is not None and value > most):
        words = f">= {least}" if most is None else f"from {least} to {most}"
        raise ValueError(f"`{name}` must be a whole number {words}, got {value!r}: set {least} or more")


def check_choice(name: str, value: Any, choices: Sequence[str]) -> None:
    """Raise `ValueError` unless `value` is one of `choices`."""
    if value not in choices:
        words = " or ".join(f"`{choice}`" for choice in choices)
        raise ValueError(f"`{name}` must be {words}, got {value!r}: set one of them")


def check_bounds(owner: str, low: Any, high: Any) -> None:
    """Raise `ValueError` unless the bounds of the actuator `owner` are finite numbers and `low` is below `high`."""
    if not (is_number(low) and is_number(high) and low < high):
        words = f"must be finite numbers, low < high, got {low!r} and {high!r}: set `low` below `high`"
        raise ValueError(f"the bounds of {owner} {words}")
