"""Schedules: the target as a pure function of progress, which goes from 0 at the first rollout to 1 at the last."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from .values import is_number


class Schedule(Protocol):
    """The protocol of a schedule, as the control loop uses it."""

    relative: bool
    """Whether targets are multiples of the first rollout's entropy; otherwise they are in nats."""

    @property
    def onset(self) -> float | None:
        """The progress at which the anneal phase begins, or `None` for a schedule without one."""

    def __call__(self, progress: float) -> float:
        """Return the target at `progress` in [0, 1]."""


@dataclass(frozen=True)
class CallableSchedule:
    """
    A schedule from any function of progress.

    Args:
        function (`Callable[[float], float]`):
            Function from progress in [0, 1] to a target, at least 0. It must be pure, because a resumed run calls it
            again.
        onset (`float`, *optional*):
            Progress in [0, 1] at which the anneal phase begins. It does not change the target, only the names of the
            phases.
        relative (`bool`, *optional*, defaults to `False`):
            Whether targets are multiples of the first rollout's entropy; otherwise they are in nats.

    Raises:
        ValueError: for an onset outside [0, 1], and when called, for a value that is no finite number >= 0.
    """

    function: Callable[[float], float]
    onset: float | None = None
    relative: bool = False

    def __post_init__(self) -> None:
        check_onset(self.onset)

    def __repr__(self) -> str:
        # the function's name, because its own repr has an address in memory, which differs from run to run
        name = getattr(self.function, "__qualname__", type(self.function).__qualname__)
        return f"CallableSchedule(function={name}, onset={self.onset}, relative={self.relative})"

    def __call__(self, progress: float) -> float:
        """Return the function's value at `progress`; raise `ValueError` unless it is a finite number >= 0."""
        target = self.function(progress)
        check_target(f"the schedule's value at progress {progress:.3f}", target)
        return float(target)


def as_schedule(schedule: Schedule | Callable[[float], float]) -> Schedule:
    """Return `schedule` itself, or a [`CallableSchedule`] of a function, with the function's `onset` and `relative`."""
    if isinstance(schedule, type) or not callable(schedule):
        words = f"to nats, got {schedule!r}: give for example ConstantSchedule(0.4)"
        raise ValueError(f"the schedule must be a Schedule or a function from progress in [0, 1] {words}")
    if hasattr(schedule, "onset") and hasattr(schedule, "relative"):
        return schedule
    return CallableSchedule(schedule, getattr(schedule, "onset", None), getattr(schedule, "relative", False))


def check_schedule(schedule: Schedule) -> None:
    """Raise `ValueError` unless a schedule gives a valid target at every hundredth of the run."""
    check_onset(schedule.onset)
    for progress in (hundredth / 100 for hundredth in range(101)):
        check_target(f"the schedule's value at progress {progress:.3f}", schedule(progress))
    check_relative("the schedule's value at progress 0", schedule(0.0), schedule.relative)


def check_target(name: str, value: float) -> None:
    """Raise `ValueError` unless `value` is a finite number >= 0; `name` is the subject of the message."""
    if not is_number(value) or value < 0.0:
        raise ValueError(f"{name} must be a finite number >= 0, got {value!r}: set an entropy in nats, for example 0.4")


def check_relative(name: str, first: float, relative: bool) -> None:
    """Raise `ValueError` unless `relative` is a bool; if it is true, `first`, the target at progress 0, must be > 0."""
    if not isinstance(relative, bool):
        raise ValueError(f"`relative` must be true (multiples) or false (nats), got {relative!r}: set one")
    if relative and first == 0.0:
        words = f"got {first!r}: set for example 1, or relative: false for nats"
        raise ValueError(f"{name} must be > 0 times the entropy of the first rollout, {words}")


def check_onset(onset: float | None) -> None:
    """Raise `ValueError` unless `onset` is a progress in [0, 1] or `None`."""
    if onset is not None and not (is_number(onset) and 0.0 <= onset <= 1.0):
        raise ValueError(f"`onset` must be a progress from 0 to 1, or None, got {onset!r}: set for example 0.9")


def phase_at(schedule: Schedule, progress: float) -> Literal["stable", "anneal"]:
    """Return the phase at `progress`: `"anneal"` from the onset on, `"stable"` before it or without an onset."""
    return "anneal" if schedule.onset is not None and progress >= schedule.onset else "stable"


def progress_at(rollout: int, num_rollouts: int) -> float:
    """Return the progress of a rollout (counted from 0) among `num_rollouts`: 0 at the first, 1 from the last on."""
    return min(rollout / max(num_rollouts - 1, 1), 1.0)


def onset_rollout(schedule: Schedule, num_rollouts: int) -> int | None:
    """Return the first rollout of the anneal phase (counted from 0), or `None` for a schedule without one."""
    phases = (phase_at(schedule, progress_at(rollout, num_rollouts)) for rollout in range(num_rollouts))
    return next((rollout for rollout, phase in enumerate(phases) if phase == "anneal"), None)
