"""Whether the entropy of a run followed its target."""

from collections.abc import Mapping, Sequence
from typing import Any

from control_report import rms


SETTLING = 15  # rollouts that do not count, at the beginning of a run and after a switch
MOST = 4.0  # errors relative to the noise of one rollout, of a run that follows its target

Run = Mapping[str, Any]  # a line of the data; `switch` is the rollout of its switch, if it has one


def has_target(run: Run) -> bool:
    """Return whether a run has a target."""
    return bool(run["target"]) and run["target"][0] is not None


def counted(run: Run) -> list[int]:
    """Return the rollouts that count."""
    switch = run.get("switch")
    settles = range(0) if switch is None else range(switch, switch + SETTLING)
    return [rollout for rollout in range(SETTLING, len(run["target"])) if rollout not in settles]


def error_of(run: Run, rollouts: Sequence[int] | None = None) -> float:
    """Return the root mean square of entropy minus target, nats, over all rollouts that count if none are given."""
    rollouts = counted(run) if rollouts is None else rollouts
    return rms([run["entropy"][rollout] - run["target"][rollout] for rollout in rollouts])


def noise_of(run: Run, rollouts: Sequence[int] | None = None) -> float:
    """Return the root mean square of the standard error of a rollout's entropy, nats: no control has a lower error."""
    rollouts = counted(run) if rollouts is None else rollouts
    return rms([run["entropy_se"][rollout] for rollout in rollouts])


def follows(run: Run) -> bool:
    """Return whether a run followed its target in each phase, which one without a target does."""
    return not has_target(run) or all(error_of(run, own) <= MOST * noise_of(run, own) for own in phases_of(run))


def phases_of(run: Run) -> list[list[int]]:
    """Return the rollouts that count before and after a run's switch or else its onset, or all if it has neither."""
    target, own, onset = run["target"], counted(run), run.get("switch")
    if onset is None:
        onset = next((rollout for rollout, each in enumerate(target) if each != target[0]), len(target))
    phases = [[rollout for rollout in own if (rollout < onset) == is_first] for is_first in (True, False)]
    return phases if all(phases) else [own]
