"""What is known of the math reward's workers from outside; Linux only."""

import os
import select
from pathlib import Path


def descendants(pid: int) -> list[int]:
    """Processes that a process has started, and those that they have."""
    threads = list(Path(f"/proc/{pid}/task").iterdir())
    try:
        children = [int(child) for thread in threads for child in (thread / "children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):  # a thread has ended since, and its children are another one's
        return descendants(pid)
    return [found for child in children for found in (child, *descendants(child))]


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
