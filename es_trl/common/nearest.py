"""The known name that a misspelt one is nearest to."""

import difflib
import typing


def nearest(name: str, known: typing.Iterable[str]) -> str:
    """`", did you mean 'x'?"` for the known name nearest to `name`, or nothing where none is near."""
    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f", did you mean {matches[0]!r}?" if matches else ""
