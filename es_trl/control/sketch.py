"""A schedule as text."""

from collections.abc import Callable

from .schedules import Schedule, as_schedule


def sketch(schedule: Schedule | Callable[[float], float], width: int = 60, height: int = 8) -> str:
    """
    Return a schedule as text, one column per step of progress and one row per step of target.

    Args:
        schedule (`Schedule` or `Callable[[float], float]`):
            The schedule to draw; a function from progress in [0, 1] to nats is enough.
        width (`int`), height (`int`):
            Columns and rows, at least 2.
    """
    schedule = as_schedule(schedule)
    targets = [schedule(column / (width - 1)) for column in range(width)]
    top = max(targets) or 1.0
    levels = [round(target / top * (height - 1)) for target in targets]
    lines = [f"target entropy, {'multiples of the first rollout' if schedule.relative else 'nats'}"]
    for level in range(height - 1, -1, -1):
        marks = "".join("*" if own == level else " " for own in levels).rstrip()
        lines.append(f"{top * level / (height - 1):6.3f} |{marks}")
    lines.append(" " * 7 + "+" + "-" * width)
    onset = "" if schedule.onset is None else f", annealing from {schedule.onset:.0%}"
    lines.append(" " * 8 + f"progress of the run{onset}")
    return "\n".join(lines)
