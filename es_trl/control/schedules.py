"""Target entropy as a pure function of progress.

Progress runs from 0 at the first rollout to 1 at the last one. A schedule has no state, so a resumed run needs nothing
but its rollout index. Targets are in nats, or, where `relative` is true, multiples of the entropy of the first rollout.

Source: "Entropy Scheduling in Reinforcement Learning for Large Language Models", section 4.2.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from .targets import check_onset, check_relative, check_target


class Schedule(Protocol):
    """What the control loop asks of a schedule."""

    relative: bool
    """Whether targets are multiples of the entropy of the first rollout instead of nats."""

    @property
    def onset(self) -> float | None:
        """Progress at which annealing begins; `None` where the target never anneals."""

    def __call__(self, progress: float) -> float:
        """Target at `progress` in [0, 1]."""


@dataclass(frozen=True)
class ConstantSchedule:
    """
    The same target for the whole run ("constant ES").

    Args:
        target (`float`):
            Target entropy, at least 0 nats (or a multiple of the first rollout's entropy).
        relative (`bool`):
            Whether targets are multiples of the entropy of the first rollout.
    """

    target: float
    relative: bool = False

    def __post_init__(self):
        check_target("target", self.target)
        check_relative("target", self.target, self.relative)

    @property
    def onset(self) -> None:
        return None

    def __call__(self, progress: float) -> float:
        return self.target


@dataclass(frozen=True)
class _RampSchedule:
    """From `start` at the first rollout to `end` at the last one; targets are at least 0 nats (or multiples)."""

    start: float
    end: float
    relative: bool = False

    def __post_init__(self):
        check_target("start", self.start)
        check_target("end", self.end)
        check_relative("start", self.start, self.relative)

    @property
    def onset(self) -> float | None:
        return 0.0 if self.end < self.start else None


@dataclass(frozen=True)
class LinearSchedule(_RampSchedule):
    """
    A straight line from `start` at the first rollout to `end` at the last one.

    Args:
        start (`float`), end (`float`):
            Targets, at least 0 nats (or multiples).
        relative (`bool`):
            Whether targets are multiples of the entropy of the first rollout.
    """

    def __call__(self, progress: float) -> float:
        return _between(self.start, self.end, _clamp(progress))


@dataclass(frozen=True)
class CosineSchedule(_RampSchedule):
    """
    Half a cosine from `start` at the first rollout to `end` at the last one ("cosine ES").

    Args:
        start (`float`), end (`float`):
            Targets, at least 0 nats (or multiples).
        relative (`bool`):
            Whether targets are multiples of the entropy of the first rollout.
    """

    def __call__(self, progress: float) -> float:
        return self.end + (self.start - self.end) * _half_cosine(_clamp(progress))


@dataclass(frozen=True)
class StableAnnealSchedule:
    """
    Constant at `target`, then annealed to `end` over the last `ratio` of the run ("stable with annealing ES").

    Args:
        target (`float`):
            Target of the stable stage, at least 0 nats (or a multiple). The paper advises 0.3 to 0.5 nats.
        end (`float`):
            Target at the last rollout, from 0 to `target`.
        ratio (`float`):
            Share of the run that anneals, from 0 (never) to 1 (all of it). The paper advises 0.1.
        shape (`"linear"` or `"cosine"`):
            How the target goes down.
        relative (`bool`):
            Whether targets are multiples of the entropy of the first rollout.
    """

    target: float
    end: float
    ratio: float = 0.1
    shape: Literal["linear", "cosine"] = "linear"
    relative: bool = False

    def __post_init__(self):
        check_target("target", self.target)
        check_target("end", self.end)
        check_relative("target", self.target, self.relative)
        if self.end > self.target:
            raise ValueError(
                f"the anneal would rise from {self.target} to {self.end}, and annealing lowers entropy: set `end` to "
                "at most `target`, or use kind `linear` or `piecewise` for a target that rises"
            )
        if not 0.0 <= self.ratio <= 1.0:
            reason = "the anneal would be longer than the run" if self.ratio > 1.0 else "it is a share of the run"
            raise ValueError(f"`ratio` is {self.ratio}, and {reason}: set it from 0 to 1, for example 0.1")
        if self.ratio == 0.0 and self.end < self.target:
            raise ValueError(
                f"`ratio` is 0, so that the target would stay at {self.target} and never reach `end`, {self.end}: set "
                "`ratio` above 0, for example 0.1, or kind `constant`"
            )
        if self.shape not in ("linear", "cosine"):
            raise ValueError(f"`shape` is {self.shape!r}, which is no known anneal: set `linear` or `cosine`")

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
        points (sequence of `(progress, target)`):
            At least two; progress rises strictly from 0 to 1; targets are at least 0 nats (or multiples).
        relative (`bool`):
            Whether targets are multiples of the entropy of the first rollout.
    """

    points: Sequence[tuple[float, float]]
    relative: bool = False

    def __post_init__(self):
        example = "for example [[0, 0.4], [0.9, 0.4], [1, 0.05]]"
        try:
            points = tuple((float(progress), float(target)) for progress, target in self.points)
        except (TypeError, ValueError):
            points = ()
        if len(points) < 2:
            raise ValueError(
                f"`points` is {self.points!r}, and must be at least two pairs of progress and target: {example}"
            )
        object.__setattr__(self, "points", points)
        for _, target in points:
            check_target("points", target)
        check_relative("points", points[0][1], self.relative)
        progress = [point[0] for point in points]
        rises = all(a < b for a, b in zip(progress, progress[1:], strict=False))
        if progress[0] != 0 or progress[-1] != 1 or not rises:
            raise ValueError(f"the progress of `points` must rise from 0 to 1, and is {progress}: {example}")

    @property
    def onset(self) -> float | None:
        """The point after which the target falls and never rises again."""
        first = len(self.points) - 1
        while first > 0 and self.points[first - 1][1] >= self.points[first][1]:
            first -= 1
        top, last = self.points[first][1], self.points[-1][1]
        return max(p for p, target in self.points[first:] if target == top) if last < top else None

    def __call__(self, progress: float) -> float:
        progress = _clamp(progress)
        for (left, start), (right, end) in zip(self.points, self.points[1:], strict=False):
            if progress <= right:
                return _between(start, end, (progress - left) / (right - left))
        raise AssertionError("the last point is at progress 1")


@dataclass(frozen=True)
class CallableSchedule:
    """
    Any function of progress.

    Args:
        function (`Callable[[float], float]`):
            Progress in [0, 1] to target, at least 0 nats (or a multiple). It must be pure: a resumed run calls it
            afresh.
        onset (`float`, *optional*):
            Progress at which annealing begins, where the function anneals; for stages and figures.
        relative (`bool`):
            Whether targets are multiples of the entropy of the first rollout.
    """

    function: Callable[[float], float]
    onset: float | None = None
    relative: bool = False

    def __post_init__(self):
        check_onset(self.onset)

    def __repr__(self) -> str:
        # by name: an address in memory would differ from run to run
        name = getattr(self.function, "__qualname__", type(self.function).__qualname__)
        return f"CallableSchedule(function={name}, onset={self.onset}, relative={self.relative})"

    def __call__(self, progress: float) -> float:
        target = self.function(progress)
        check_target(f"the schedule's value at progress {progress:.3f}", target)
        return float(target)


def as_schedule(schedule: Schedule | Callable[[float], float]) -> Schedule:
    """`schedule` itself, or a function of progress made one, with the `onset` and `relative` that it has."""
    if isinstance(schedule, type) or not callable(schedule):
        raise ValueError(f"{schedule!r} is no schedule: give one, or a function from progress in [0, 1] to nats")
    if hasattr(schedule, "onset") and hasattr(schedule, "relative"):
        return schedule
    return CallableSchedule(schedule, getattr(schedule, "onset", None), getattr(schedule, "relative", False))


def check_schedule(schedule: Schedule) -> None:
    """
    Raise unless a schedule, which may be a user's own, gives targets over the whole run.

    Raises:
        ValueError: for a target that is none, or a first one of 0 times the entropy of the first rollout.
    """
    check_onset(schedule.onset)
    for hundredth in range(101):
        progress = hundredth / 100
        check_target(f"the schedule's value at progress {progress:.3f}", schedule(progress))
    check_relative("the schedule's value at progress 0", schedule(0.0), schedule.relative)


def stage_at(schedule: Schedule, progress: float) -> Literal["stable", "anneal"]:
    """The stage of the run: `"anneal"` from the onset on, `"stable"` before it and where nothing anneals."""
    return "anneal" if schedule.onset is not None and progress >= schedule.onset else "stable"


def progress_at(rollout: int, num_rollouts: int) -> float:
    """Progress of a rollout, counted from 0, among `num_rollouts`: 0 at the first, 1 at the last and behind it."""
    return min(rollout / max(num_rollouts - 1, 1), 1.0)


def onset_rollout(schedule: Schedule, num_rollouts: int) -> int | None:
    """The first rollout of the anneal, counted from 0; `None` where the target never anneals."""
    stages = (stage_at(schedule, progress_at(rollout, num_rollouts)) for rollout in range(num_rollouts))
    return next((rollout for rollout, stage in enumerate(stages) if stage == "anneal"), None)


def _clamp(progress: float) -> float:
    return min(max(progress, 0.0), 1.0)


def _between(start: float, end: float, position: float) -> float:
    """The point of a straight line, exact at both ends."""
    return start * (1.0 - position) + end * position


def _half_cosine(position: float) -> float:
    """1 at position 0, 0 at position 1."""
    return 0.5 * (1.0 + math.cos(math.pi * position))
