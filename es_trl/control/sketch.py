"""A drawing of a schedule as text."""

from collections.abc import Callable

from .schedules import Schedule, as_schedule


def sketch(schedule: Schedule | Callable[[float], float], width: int = 60, height: int = 8) -> str:
    """
    Return a drawing of a schedule as text, with progress from left to right and the target from bottom to top.

    Args:
        schedule (`Schedule` or `Callable[[float], float]`):
            The schedule, or a function from progress in [0, 1] to nats.
        width (`int`, *optional*, defaults to `60`):
            Number of columns, at least 2.
        height (`int`, *optional*, defaults to `8`):
            Number of rows, at least 2.

    Returns:
        `str`: the drawing, with labels, in `height + 3` lines.

    Raises:
        ValueError: for an object that is no schedule.
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
