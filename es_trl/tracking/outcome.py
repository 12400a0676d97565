"""The outcome of a run in numbers: entropy, reward, and how far entropy was from its target."""

import math
from dataclasses import dataclass
from statistics import mean
from typing import Any


SETTLING = 15  # rollouts at the start of the stable phase that its error leaves out
WINDOW = 10  # rollouts of a mean reward


@dataclass(frozen=True)
class Error:
    """The root mean square error of the entropy in a phase, and the noise of one rollout there, both in nats."""

    rms: float
    rollouts: int
    noise: float | None  # root mean square of the standard errors; `None` where the history has none
    left_out: int  # rollouts at the start of the phase that do not count


@dataclass(frozen=True)
class Outcome:
    """The outcome of a run. A value is `None`, and a phase is missing, where the history does not have it."""

    rollouts: int
    entropy: tuple[float, float] | None  # of the first and of the last rollout, nats
    reward: tuple[float, float] | None  # means over the first and over the last `window` rollouts
    window: int
    errors: dict[str, Error]  # by the phase of the schedule
    alarms: int
    seconds: float | None  # sum over the rollouts


def outcome_of(records: list[dict[str, Any]], settling: int = SETTLING, window: int = WINDOW) -> Outcome:
    """
    Return the outcome of a run of at least one record.

    Args:
        records (`list[dict]`):
            The history, from [`read_history`].
        settling (`int`, *optional*, defaults to `15`):
            Rollouts at the start that the error of the stable phase leaves out, at most half of the phase.
        window (`int`, *optional*, defaults to `10`):
            Rollouts of the first and of the last mean reward, at most half of the run.
    """
    errors = {}
    for stage in ("stable", "anneal"):
        own = [record for record in records if record["stage"] == stage and record["error"] is not None]
        left_out = min(settling, len(own) // 2) if stage == "stable" else 0
        if own := own[left_out:]:
            noise = _known(own, "entropy_se")
            errors[stage] = Error(_rms(_known(own, "error")), len(own), _rms(noise) if noise else None, left_out)
    window = min(window, max(len(records) // 2, 1))
    rewards = [_known(part, "reward") for part in (records[:window], records[-window:])]
    seconds = _known(records, "seconds")
    first, last = records[0]["entropy"], records[-1]["entropy"]
    return Outcome(
        rollouts=len(records),
        entropy=None if first is None or last is None else (first, last),
        reward=(mean(rewards[0]), mean(rewards[1])) if all(rewards) else None,
        window=window,
        errors=errors,
        alarms=sum(event["kind"] == "alarm" for record in records for event in record["events"] or []),
        seconds=sum(seconds) if seconds else None,
    )


def _known(records: list[dict[str, Any]], name: str) -> list[float]:
    return [record[name] for record in records if record[name] is not None]


def _rms(values: list[float]) -> float:
    return math.sqrt(mean(value * value for value in values))
