"""The lineage of a run, which tells its own checkpoints from others in the same folder.

Every start of a run, fresh or resumed, begins a session with a random identifier. The lineage of a run lists its
sessions, and for each session the last update that counts. For example, after a resume from update 8, checkpoints that
the earlier session wrote after update 8 no longer belong to the run. Checkpoints of other runs never do.
"""

import uuid
from dataclasses import dataclass, field
from typing import Any


Lineage = list[list[Any]]  # pairs of a session and its last update that counts; `None` for the present session


@dataclass(frozen=True)
class Identity:
    """The number of a run in its folder, from 1, and its lineage. The default is for a run that has not begun."""

    number: int | None = None
    lineage: Lineage = field(default_factory=list)


def fresh() -> Lineage:
    """Return the lineage of a new run."""
    return [[uuid.uuid4().hex[:16], None]]


def resumed(lineage: Lineage, update: int) -> Lineage:
    """Return the lineage of a run that resumes from a checkpoint with this lineage, written at `update`."""
    *earlier, (session, _) = lineage
    return [*earlier, [session, update], *fresh()]


def belongs(written: Lineage, update: int, lineage: Lineage) -> bool:
    """Return whether a checkpoint, written at `update` with the lineage `written`, belongs to the run `lineage`."""
    session = written[-1][0]
    return any(own == session and (last is None or update <= last) for own, last in lineage)
