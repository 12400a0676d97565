"""What each arm was: how near its entropy was to its target, and how good its final model is."""

from collections.abc import Sequence

from claims import Run, Runs, pass_at, unbroken
from control_report import spread, table
from following import error_of, has_target, noise_of, phases_of


def arms_table(arms: Sequence[str], runs: Runs) -> str:
    """Return a table of the arms, over the seeds whose runs did not break; empty without such runs."""
    heads = ["arm", "seeds", "error, nats", "noise, nats", "error relative to noise", "in the worse phase"]
    heads += ["pass@1", "pass@max"]
    rows = [row_of(arm, own) for arm, own in unbroken(arms, runs).items()]
    return table([heads, *rows]) if rows else ""


def row_of(arm: str, runs: Sequence[Run]) -> list[str]:
    """Return the row of an arm: means and standard deviations over its runs; no error where there is no target."""
    entropy = ["-"] * 4
    if has_target(runs[0]):
        off, noise = [error_of(run) for run in runs], [noise_of(run) for run in runs]
        shares = [one / other for one, other in zip(off, noise, strict=True)]
        worse = [max(error_of(run, own) / noise_of(run, own) for own in phases_of(run)) for run in runs]
        entropy = [spread(off, 3), spread(noise, 3), spread(shares, 2), spread(worse, 2)]
    passes = [spread([pass_at(k).of(run) for run in runs], 3) for k in ("1", "max")]
    return [f"`{arm}`", str(len(runs)), *entropy, *passes]
