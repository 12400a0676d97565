"""What is known of the math reward's workers from outside; Linux only."""

import os
import select
from pathlib import Path


def descendants(pid: int) -> list[int]:
    """Processes that a process has started, and those that they have."""
    found = []
    for thread in Path(f"/proc/{pid}/task").iterdir():
        for child in map(int, (thread / "children").read_text().split()):
            found += [child, *descendants(child)]
    return found


def status_kib(pid: int, field: str) -> int:
    """A field of a process's status, such as `VmHWM`, its peak of resident memory, in KiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


def ends_within(pid: int, seconds: float) -> bool:
    """Whether a process is gone, or goes, in the given time."""
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([process], [], [], seconds)[0])
    finally:
        os.close(process)
