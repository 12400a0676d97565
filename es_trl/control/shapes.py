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
    The same target for the whole run ("constant ES").

    Args:
        target (`float`):
            Target entropy, at least 0 nats.
        relative (`bool`):
            Whether targets are multiples of the entropy of the first rollout.
    """

    target: float
    relative: bool = False
    onset: ClassVar[None] = None

    def __post_init__(self) -> None:
        check_target("target", self.target)
        check_relative("target", self.target, self.relative)

    def __call__(self, progress: float) -> float:
        return self.target


@dataclass(frozen=True)
class LinearSchedule:
    """
    A straight line from `start` at the first rollout to `end` at the last one.

    Args:
        start (`float`), end (`float`), relative (`bool`):
            First and last target, as in [`ConstantSchedule`].
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
        return 0.0 if self.end < self.start else None

    def __call__(self, progress: float) -> float:
        return _between(self.start, self.end, _clamp(progress))


@dataclass(frozen=True)
class CosineSchedule(LinearSchedule):
    """Half a cosine from `start` at the first rollout to `end` at the last one ("cosine ES"), as [`LinearSchedule`]."""

    def __call__(self, progress: float) -> float:
        return self.end + (self.start - self.end) * _half_cosine(_clamp(progress))


@dataclass(frozen=True)
class StableAnnealSchedule:
    """
    Constant at `target`, then annealed to `end` over the last `ratio` of the run ("stable with annealing ES").

    Args:
        target (`float`), end (`float`), relative (`bool`):
            Target of the stable phase (the paper advises 0.3 to 0.5 nats), and at the last rollout, from 0 to
            `target`; `relative` as in [`ConstantSchedule`].
        ratio (`float`):
            Share of the run that anneals, from 0 (never) to 1 (all of it). The paper advises 0.1.
        shape (`"linear"` or `"cosine"`):
            How the target goes down.
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
        return 1.0 - self.ratio if self.ratio > 0.0 and self.end < self.target else None

    def __call__(self, progress: float) -> float:
        begin = 1.0 - self.ratio
        if self.ratio == 0.0 or progress <= begin:
            return self.target
        position = (_clamp(progress) - begin) / (1.0 - begin)  # exactly 1 at the last rollout
        remaining = _half_cosine(position) if self.shape == "cosine" else 1.0 - position
        return self.end + (self.target - self.end) * remaining


@dataclass(frozen=True)
class PiecewiseSchedule:
    """
    Straight lines between points.

    Args:
        points (sequence of `(progress, target)`), relative (`bool`):
            At least two; progress rises strictly from 0 to 1. Targets are as in [`ConstantSchedule`].
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
        """Progress after which the target falls and never rises again."""
        first = len(self.points) - 1
        while first > 0 and self.points[first - 1][1] >= self.points[first][1]:
            first -= 1
        top, last = self.points[first][1], self.points[-1][1]
        return max(p for p, target in self.points[first:] if target == top) if last < top else None

    def __call__(self, progress: float) -> float:
        progress = _clamp(progress)
        (left, start), (right, end) = next(pair for pair in pairwise(self.points) if progress <= pair[1][0])
        return _between(start, end, (progress - left) / (right - left))


def _clamp(progress: float) -> float:
    return min(max(progress, 0.0), 1.0)


def _between(start: float, end: float, position: float) -> float:
    """Return the point of a straight line, exact at both ends."""
    return start * (1.0 - position) + end * position


def _half_cosine(position: float) -> float:
    """Return 1 at position 0, 0 at position 1, and half a cosine in between."""
    return 0.5 * (1.0 + math.cos(math.pi * position))
