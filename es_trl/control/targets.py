"""What a target, its unit and the onset of an anneal may be."""

import math
from numbers import Real


def check_target(name: str, value: float) -> None:
    """Raise unless `value` is an entropy, or a multiple of one; `name` is for the message."""
    if not isinstance(value, Real) or not math.isfinite(value) or value < 0.0:
        raise ValueError(f"{name} is {value!r}, and entropy is a finite number of at least 0 nats: set 0 or more")


def check_relative(name: str, first: float, relative: bool) -> None:
    """Raise unless `relative` is a truth value, and `first`, the target at progress 0, no multiple of 0."""
    if not isinstance(relative, bool):
        raise ValueError(f"`relative` is {relative!r}: set true (multiples of the first entropy) or false (nats)")
    if relative and first == 0.0:
        raise ValueError(
            f"{name} begins at 0 times the entropy of the first rollout, which no policy has: set a multiple above 0, "
            "for example 1, or relative: false for nats"
        )


def check_onset(onset: float | None) -> None:
    """Raise unless `onset` is a progress in [0, 1], or `None`."""
    number = isinstance(onset, Real) and not isinstance(onset, bool)
    if onset is not None and not (number and 0.0 <= onset <= 1.0):
        raise ValueError(f"`onset` is {onset!r}, and it is a progress: set it from 0 to 1")
