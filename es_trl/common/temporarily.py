"""Attributes with other values for a while."""

import contextlib
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def temporarily(target: object, **values: Any) -> Iterator[None]:
    """Give attributes of `target` other values for as long as the block runs."""
    before = {name: getattr(target, name) for name in values}
    try:
        for name, value in values.items():
            setattr(target, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(target, name, value)
