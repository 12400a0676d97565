"""Which checkpoints are of the run that a folder holds: those that its present state comes from.

Every start of a run, fresh or resumed, is a session with an identifier of its own. A run's lineage lists its sessions,
and for each the update up to which it counts: a resume from update 8 leaves out what the session before made after 8.
So checkpoints of an abandoned future, and those of other runs in the same folder, are never taken for the run's own.
"""

import uuid
from dataclasses import dataclass, field
from typing import Any


Lineage = list[list[Any]]  # pairs of a session and the update up to which it counts; `None` for the present session


@dataclass(frozen=True)
class Identity:
    """By what a run is known: its number in the folder, from 1, and its sessions. The default has not begun."""

    number: int | None = None
    lineage: Lineage = field(default_factory=list)


def fresh() -> Lineage:
    """Return the lineage of a run that starts afresh."""
    return [[uuid.uuid4().hex[:16], None]]


def resumed(lineage: Lineage, update: int) -> Lineage:
    """Return the lineage of a run that goes on from a checkpoint of this lineage, made at `update`."""
    *earlier, (session, _) = lineage
    return [*earlier, [session, update], *fresh()]


def belongs(written: Lineage, update: int, lineage: Lineage) -> bool:
    """Return whether a checkpoint, written at `update` with the lineage `written`, is of the run `lineage`."""
    session = written[-1][0]
    return any(own == session and (last is None or update <= last) for own, last in lineage)
