"""Whether the entropy of a run followed its target."""

from collections.abc import Mapping
from typing import Any

from control_report import rms


SETTLING = 15  # rollouts at the beginning that do not count
MOST = 4.0  # errors relative to the noise of one rollout, of a run that follows its target


def has_target(run: Mapping[str, Any]) -> bool:
    """Return whether a run has a target."""
    return bool(run["target"]) and run["target"][0] is not None


def error_of(run: Mapping[str, Any]) -> float:
    """Return the root mean square of entropy minus target, nats."""
    pairs = zip(run["entropy"][SETTLING:], run["target"][SETTLING:], strict=True)
    return rms([entropy - target for entropy, target in pairs])


def noise_of(run: Mapping[str, Any]) -> float:
    """Return the root mean square of the standard error of a rollout's entropy, nats: no control has a lower error."""
    return rms(run["entropy_se"][SETTLING:])


def follows(run: Mapping[str, Any]) -> bool:
    """Return whether a run followed its target in each phase, which one without a target does."""
    return not has_target(run) or all(error_of(phase) <= MOST * noise_of(phase) for phase in phases_of(run))


def phases_of(run: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the series of a run before and after its target begins to move; of one without an onset, all of it."""
    target = run["target"]
    onset = next((index for index, each in enumerate(target) if each != target[0]), len(target))
    if not SETTLING < onset < len(target):
        return [run]
    names = ("target", "entropy", "entropy_se")
    # the second begins with rollouts that do not count, in place of those at the beginning of the run
    return [{name: run[name][:onset] for name in names}, {name: run[name][onset - SETTLING :] for name in names}]
