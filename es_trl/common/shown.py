"""Values as text for messages."""

import textwrap
from typing import Any


def shown(value: Any, length: int = 60) -> str:
    """Return the `repr` of a value, cut to at most `length` characters."""
    text = repr(value)
    return text if len(text) <= length else f"{text[: length - 3]}..."


def wrapped(text: str, width: int = 100) -> str:
    """Return a text as lines of at most `width` characters; all but the first are indented."""
    return textwrap.fill(text, width, subsequent_indent="    ", break_on_hyphens=False, break_long_words=False)


def shown_with_type(value: Any) -> str:
    """Return the type of a value and its `repr`, cut to at most 80 characters."""
    return f"{type(value).__name__} {shown(value, 80)}"


def clock(seconds: float) -> str:
    """Return a time as hours, minutes and seconds, for example `0:01:27`."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def duration(seconds: float) -> str:
    """Return a time in the two largest units that it needs."""
    if seconds < 60:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{int(seconds // 60)} min {int(seconds % 60)} s"
    return f"{minutes // 60} h {minutes % 60} min" if minutes < 48 * 60 else f"{minutes / 1440:.1f} days"
