"""Values in messages."""

from typing import Any


def shown(value: Any, length: int = 60) -> str:
    """Return the `repr` of a value, cut to at most `length` characters."""
    text = repr(value)
    return text if len(text) <= length else f"{text[: length - 3]}..."
