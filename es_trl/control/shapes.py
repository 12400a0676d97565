"""The schedules that a recipe can name.

Source: "Entropy Scheduling in Reinforcement Learning for Large Language Models", section 4.2.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Literal

from .schedules import check_relative, check_target
from .values import check_choice, check_number


@dataclass(frozen=True)
class ConstantSchedule:
    """
    A schedule with the same target for the whole run ("constant ES" in the paper).

    Args:
        target (`float`):
            Target in nats, at least 0.
        relative (`bool`, *optional*, defaults to `False`):
            Whether the target is a multiple of the first rollout's entropy instead of nats; it must then be above 0.

    Raises:
        ValueError: for an argument out of its range.
    """

    target: float
    relative: bool = False
    onset: ClassVar[None] = None

    def __post_init__(self) -> None:
        check_target("target", self.target)
        check_relative("target", self.target, self.relative)

    def __call__(self, progress: float) -> float:
        """Return the target, which is the same at every progress."""
        return self.target


@dataclass(frozen=True)
class LinearSchedule:
    """
    A schedule that is a straight line from `start` at the first rollout to `end` at the last one.

    Args:
        start (`float`):
            Target at the first rollout in nats, at least 0.
        end (`float`):
            Target at the last rollout in nats, at least 0.
        relative (`bool`, *optional*, defaults to `False`):
            Whether targets are multiples of the first rollout's entropy instead of nats; `start` must then be above 0.

    Raises:
        ValueError: for an argument out of its range.
    """

    start: float
    end: float
    relative: bool = False

    def __post_init__(self) -> None:
        check_target("start", self.start)
        check_target("end", self.end)
        check_relative("start", self.start, self.relative)

    @property
    def onset(self) -> float | None:
        """0 for a line that falls, otherwise `None`."""
        return 0.0 if self.end < self.start else None

    def __call__(self, progress: float) -> float:
        """Return the target at `progress`."""
        return _between(self.start, self.end, _clamp(progress))


@dataclass(frozen=True)
class CosineSchedule(LinearSchedule):
    """
    A schedule that is half a cosine from `start` at the first rollout to `end` at the last one ("cosine ES").

    Args:
        start (`float`):
            Target at the first rollout in nats, at least 0.
        end (`float`):
            Target at the last rollout in nats, at least 0.
        relative (`bool`, *optional*, defaults to `False`):
            Whether targets are multiples of the first rollout's entropy instead of nats; `start` must then be above 0.

    Raises:
        ValueError: for an argument out of its range.
    """

    def __call__(self, progress: float) -> float:
        """Return the target at `progress`."""
        return self.end + (self.start - self.end) * _half_cosine(_clamp(progress))


@dataclass(frozen=True)
class StableAnnealSchedule:
    """
    A schedule that stays at `target`, then falls to `end` over the last part of the run ("stable with annealing ES").

    Args:
        target (`float`):
            Target of the stable phase in nats, at least 0. The paper advises 0.3 to 0.5.
        end (`float`):
            Target at the last rollout in nats, from 0 to `target`.
        ratio (`float`, *optional*, defaults to `0.1`):
            Length of the anneal phase as a share of the run, from 0 (no anneal phase, only if `end` equals `target`) to
            1 (the whole run). The paper advises 0.1.
        shape (`"linear"` or `"cosine"`, *optional*, defaults to `"linear"`):
            Shape of the curve in the anneal phase.
        relative (`bool`, *optional*, defaults to `False`):
            Whether targets are multiples of the first rollout's entropy instead of nats; `target` must then be above 0.

    Raises:
        ValueError: for an argument out of its range.
    """

    target: float
    end: float
    ratio: float = 0.1
    shape: Literal["linear", "cosine"] = "linear"
    relative: bool = False

    def __post_init__(self) -> None:
        check_target("target", self.target)
        check_target("end", self.end)
        check_relative("target", self.target, self.relative)
        if self.end > self.target:
            words = f"got {self.end}: set it lower, or kind `linear` or `piecewise` for a target that rises"
            raise ValueError(f"`end` must be at most `target`, {self.target}, {words}")
        check_number("ratio", self.ratio, "a share of the run, for example 0.1", least=0, most=1)
        if self.ratio == 0.0 and self.end < self.target:
            words = f"{self.target} to {self.end}, got 0: set for example 0.1, or kind `constant`"
            raise ValueError(f"`ratio` must be > 0 for a target that goes from {words}")
        check_choice("shape", self.shape, ("linear", "cosine"))

    @property
    def onset(self) -> float | None:
        """The progress at which the anneal phase begins, or `None` if the target never falls."""
        return 1.0 - self.ratio if self.ratio > 0.0 and self.end < self.target else None

    def __call__(self, progress: float) -> float:
        """Return the target at `progress`."""
        begin = 1.0 - self.ratio
        if self.ratio == 0.0 or progress <= begin:
            return self.target
        position = (_clamp(progress) - begin) / (1.0 - begin)  # dividing by `ratio` would not give exactly 1 at the end
        remaining = _half_cosine(position) if self.shape == "cosine" else 1.0 - position
        return self.end + (self.target - self.end) * remaining


@dataclass(frozen=True)
class PiecewiseSchedule:
    """
    A schedule of straight lines between points.

    Args:
        points (sequence of `tuple[float, float]`):
            At least two pairs `(progress, target)`. Progress rises strictly from 0 to 1, and targets are in nats, at
            least 0. For example, `[[0, 0.4], [0.9, 0.4], [1, 0.05]]` stays at 0.4 nats and falls to 0.05 in the last
            tenth of the run.
        relative (`bool`, *optional*, defaults to `False`):
            Whether targets are multiples of the first rollout's entropy instead of nats; the first one must then be
            above 0.

    Raises:
        ValueError: for points that do not meet these conditions.
    """

    points: Sequence[tuple[float, float]]
    relative: bool = False

    def __post_init__(self) -> None:
        example = "set for example [[0, 0.4], [0.9, 0.4], [1, 0.05]]"
        try:
            points = tuple((float(progress), float(target)) for progress, target in self.points)
        except (TypeError, ValueError):
            points = ()
        if len(points) < 2:
            raise ValueError(f"`points` must be at least two pairs (progress, target), got {self.points!r}: {example}")
        object.__setattr__(self, "points", points)
        for _, target in points:
            check_target("a target of `points`", target)
        check_relative("the first target of `points`", points[0][1], self.relative)
        progress = [point[0] for point in points]
        if progress[0] != 0 or progress[-1] != 1 or not all(a < b for a, b in pairwise(progress)):
            raise ValueError(f"the progress of `points` must rise from 0 to 1, got {progress}: {example}")

    @property
    def onset(self) -> float | None:
        """The progress from which the target only falls, or `None` if it does not fall at the end."""
        first = len(self.points) - 1
        while first > 0 and self.points[first - 1][1] >= self.points[first][1]:
            first -= 1
        top, last = self.points[first][1], self.points[-1][1]
        return max(p for p, target in self.points[first:] if target == top) if last < top else None

    def __call__(self, progress: float) -> float:
        """Return the target at `progress`."""
        progress = _clamp(progress)
        (left, start), (right, end) = next(pair for pair in pairwise(self.points) if progress <= pair[1][0])
        return _between(start, end, (progress - left) / (right - left))


def _clamp(progress: float) -> float:
    return min(max(progress, 0.0), 1.0)


def _between(start: float, end: float, position: float) -> float:
    """Return the value at `position` (0 to 1) on a straight line, exact at both ends."""
    return start * (1.0 - position) + end * position


def _half_cosine(position: float) -> float:
    """Return 1 at position 0, 0 at position 1, and half a cosine in between."""
    return 0.5 * (1.0 + math.cos(math.pi * position))
