"""Attributes with temporary values."""

import contextlib
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def temporarily(target: object, **values: Any) -> Iterator[None]:
    """Set attributes of `target` while the block runs, and restore them afterwards."""
    before = {name: getattr(target, name) for name in values}
    try:
        for name, value in values.items():
            setattr(target, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(target, name, value)
