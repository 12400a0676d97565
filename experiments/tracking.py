"""How near the entropy of each arm was to its target."""

from collections.abc import Sequence
from statistics import mean

from claims import Run, Runs
from control_report import rms, spread, table


SETTLING = 15  # rollouts at the begin that do not count


def tracking(arms: Sequence[str], runs: Runs) -> str:
    """Return a table of the arms with a target, over the seeds whose runs did not break; empty without such runs."""
    rows = []
    for arm in arms:
        own = [run for run in runs.get(arm, {}).values() if has_target(run)]
        if own:
            off, noise = [error_of(run) for run in own], [noise_of(run) for run in own]
            shares = [one / other for one, other in zip(off, noise, strict=True)]
            cells = [spread(off, 3), f"{mean(noise):.3f}", spread(shares, 2)]
            rows.append([f"`{arm}`", str(len(own)), *cells])
    if not rows:
        return ""
    heads = ["arm", "seeds", "error, nats", "noise of one rollout, nats", "error relative to noise"]
    return table([heads, *rows])


def has_target(run: Run) -> bool:
    """Return whether a run did not break and followed a target."""
    return not run["failure"] and bool(run["target"]) and run["target"][0] is not None


def error_of(run: Run) -> float:
    """Return the root mean square of entropy minus target, nats."""
    pairs = zip(run["entropy"][SETTLING:], run["target"][SETTLING:], strict=True)
    return rms([entropy - target for entropy, target in pairs])


def noise_of(run: Run) -> float:
    """Return the root mean square of the standard error of a rollout's entropy, nats: no control has a lower error."""
    return rms(run["entropy_se"][SETTLING:])
