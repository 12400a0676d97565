"""Schedules: target entropy as a pure function of progress, from 0 at the first rollout to 1 at the last."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from .values import is_number


class Schedule(Protocol):
    """A schedule as the control loop uses it."""

    relative: bool
    """Whether targets are multiples of the entropy of the first rollout instead of nats."""

    @property
    def onset(self) -> float | None:
        """Progress at which annealing begins; `None` where the target never anneals."""

    def __call__(self, progress: float) -> float:
        """Return the target at `progress` in [0, 1]."""


@dataclass(frozen=True)
class CallableSchedule:
    """
    Any function of progress.

    Args:
        function (`Callable[[float], float]`):
            Progress in [0, 1] to target, at least 0. It must be pure: a resumed run calls it afresh.
        onset (`float`, *optional*):
            Progress at which annealing begins, for phases and figures.
        relative (`bool`):
            Whether targets are multiples of the entropy of the first rollout.
    """

    function: Callable[[float], float]
    onset: float | None = None
    relative: bool = False

    def __post_init__(self) -> None:
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
    """Return `schedule` itself, or a function of progress made one, with the `onset` and `relative` that it has."""
    if isinstance(schedule, type) or not callable(schedule):
        words = f"to nats, got {schedule!r}: give for example ConstantSchedule(0.4)"
        raise ValueError(f"the schedule must be a Schedule or a function from progress in [0, 1] {words}")
    if hasattr(schedule, "onset") and hasattr(schedule, "relative"):
        return schedule
    return CallableSchedule(schedule, getattr(schedule, "onset", None), getattr(schedule, "relative", False))


def check_schedule(schedule: Schedule) -> None:
    """Raise unless a schedule, which may be a user's own, gives targets over the whole run."""
    check_onset(schedule.onset)
    for progress in (hundredth / 100 for hundredth in range(101)):
        check_target(f"the schedule's value at progress {progress:.3f}", schedule(progress))
    check_relative("the schedule's value at progress 0", schedule(0.0), schedule.relative)


def check_target(name: str, value: float) -> None:
    """Raise unless `value` is an entropy, or a multiple of one; `name` is for the message."""
    if not is_number(value) or value < 0.0:
        raise ValueError(f"{name} must be a finite number >= 0, got {value!r}: set an entropy in nats, for example 0.4")


def check_relative(name: str, first: float, relative: bool) -> None:
    """Raise unless `relative` is a truth value, and `first`, the target at progress 0, no multiple of 0."""
    if not isinstance(relative, bool):
        raise ValueError(f"`relative` must be true (multiples) or false (nats), got {relative!r}: set one")
    if relative and first == 0.0:
        words = f"got {first!r}: set for example 1, or relative: false for nats"
        raise ValueError(f"{name} must be > 0 times the entropy of the first rollout, {words}")


def check_onset(onset: float | None) -> None:
    """Raise unless `onset` is a progress in [0, 1], or `None`."""
    if onset is not None and not (is_number(onset) and 0.0 <= onset <= 1.0):
        raise ValueError(f"`onset` must be a progress from 0 to 1, or None, got {onset!r}: set for example 0.9")


def phase_at(schedule: Schedule, progress: float) -> Literal["stable", "anneal"]:
    """Return the phase of the run: `"anneal"` from the onset on, `"stable"` before it and where nothing anneals."""
    return "anneal" if schedule.onset is not None and progress >= schedule.onset else "stable"


def progress_at(rollout: int, num_rollouts: int) -> float:
    """Return the progress of a rollout, counted from 0, among `num_rollouts`: 0 at the first, 1 from the last on."""
    return min(rollout / max(num_rollouts - 1, 1), 1.0)


def onset_rollout(schedule: Schedule, num_rollouts: int) -> int | None:
    """Return the first rollout of the anneal phase, counted from 0; `None` where the target never anneals."""
    phases = (phase_at(schedule, progress_at(rollout, num_rollouts)) for rollout in range(num_rollouts))
    return next((rollout for rollout, phase in enumerate(phases) if phase == "anneal"), None)
