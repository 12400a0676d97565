"""The known name nearest to a misspelt one."""

import difflib
from collections.abc import Iterable


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the question `", did you mean 'x'?"` for the known name nearest to `name`, or `""` if none is near."""
    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f", did you mean {matches[0]!r}?" if matches else ""
