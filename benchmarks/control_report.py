"""The tables and the figure of benchmarks/control.py, made from its data."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from matplotlib.figure import Figure

from es_trl.config.parser import build_part
from es_trl.control.schedules import phase_at, progress_at


KEY = ("condition", "method", "schedule", "seed", "rollouts")
SETTLING = 15  # number of rollouts at the start that the error leaves out
BOUNDS = {"clip_high": (0.1, 0.4), "clip": (-0.65, 1.3), "entropy_bonus": (-1.0, 1.0)}
SCHEDULES = {
    "constant": {"kind": "constant", "target": 0.35},
    "cosine": {"kind": "cosine", "start": 0.45, "end": 0.05},
    "stable_anneal": {"kind": "stable_anneal", "target": 0.3, "end": 0.05, "ratio": 0.25},
}
TITLES = {
    "constant": "constant: 0.35 nats",
    "cosine": "cosine: from 0.45 to 0.05 nats",
    "stable_anneal": "stable_anneal: 0.3 nats, annealed to 0.05 over the last quarter",
}


def load(path: Path, key: tuple[str, ...] = KEY) -> dict[tuple, dict[str, Any]]:
    """Return finished runs by their key; raise `ValueError` if the file has a line that was cut."""
    runs = []
    for number, line in enumerate(path.read_text().splitlines() if path.exists() else [], start=1):
        try:
            run = json.loads(line)
            runs.append((tuple(run[name] for name in key), run))
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"line {number} of {path} must be a run as JSON, got {line[:40]!r}: remove it") from error
    return dict(runs)


def targets_of(schedule: dict[str, Any], rollouts: int) -> list[float]:
    """Return the target of every rollout, nats."""
    part = build_part("entropy_schedule", schedule)
    return [part(progress_at(rollout, rollouts)) for rollout in range(rollouts)]


def target(schedule: str, rollouts: int) -> list[float]:
    return targets_of(SCHEDULES[schedule], rollouts)


def segments(schedule: str, rollouts: int) -> dict[str, range]:
    """Return the rollouts over which the error is taken: those of each phase, without the first ones of the run."""
    part = build_part("entropy_schedule", SCHEDULES[schedule])
    phases = [phase_at(part, progress_at(rollout, rollouts)) for rollout in range(rollouts)]
    found = {phase: [r for r in range(SETTLING, rollouts) if phases[r] == phase] for phase in ("stable", "anneal")}
    return {phase: range(rows[0], rows[-1] + 1) for phase, rows in found.items() if rows}


def rms(values: list[float]) -> float:
    return (sum(value * value for value in values) / len(values)) ** 0.5


def errors(run: dict[str, Any]) -> list[float]:
    """Return target minus entropy of every rollout, nats."""
    targets = target(run["schedule"], run["rollouts"])
    return [wanted - entropy for wanted, entropy in zip(targets, run["entropy"], strict=False)]


def error_over(run: dict[str, Any], rows: range) -> float:
    """Return the root-mean-square error, nats; infinite for a run that broke."""
    return math.inf if run["failure"] else rms(errors(run)[rows.start : rows.stop])


def floor_over(run: dict[str, Any], rows: range) -> float:
    """Return the noise floor: the root-mean-square standard error of the measured entropy, nats."""
    return math.nan if run["failure"] else rms(run["entropy_se"][rows.start : rows.stop])


def settling(run: dict[str, Any]) -> int | None:
    """Return the first of five rollouts whose mean error is within two of its standard errors, or `None` if never."""
    off, noise = errors(run), run["entropy_se"]
    for first in range(len(off) - 4):
        if abs(mean(off[first : first + 5])) <= 2.0 * rms(noise[first : first + 5]) / 5**0.5:
            return first
    return None


def overshoot(run: dict[str, Any]) -> float:
    """Return the largest distance of a five-rollout mean beyond the target in the first phase, nats."""
    off = errors(run)
    side = 1.0 if off[0] > 0.0 else -1.0
    last = min(next(iter(segments(run["schedule"], run["rollouts"]).values())).stop, len(off))
    return max(0.0, max(-side * mean(off[first : first + 5]) for first in range(last - 4)))


def spread(values: list[float], digits: int = 4) -> str:
    """Return the mean and, for several seeds, the standard deviation; if runs broke, return their number."""
    if any(math.isinf(value) for value in values):
        return f"broke in {sum(map(math.isinf, values))} of {len(values)}"
    return f"{mean(values):.{digits}f}" + (f" ± {stdev(values):.{digits}f}" if len(values) > 1 else "")


def bound_share(runs: list[dict[str, Any]]) -> str:
    """Return the share of rollouts whose control was saturated."""
    controls = [control for run in runs for control in run["control"]]
    if controls[0] is None:
        return "-"
    name = runs[0]["method"].split(", ")[1]
    bounds = BOUNDS.get(name, [bound for pair in BOUNDS.values() for bound in pair])  # a chain has all bounds
    return f"{mean(control in bounds for control in controls):.2f}"


def compare(runs: list[dict[str, Any]], schedule: str) -> str:
    """Return the table of one schedule, with one row per method and all seeds together."""
    head = ["method"]
    for phase in segments(schedule, runs[0]["rollouts"]):
        head += [f"error, {phase}", "noise floor", "ratio"]
    lines = [[*head, "settled", "overshoot", "at a bound", "reward, last 10"]]
    for method in dict.fromkeys(run["method"] for run in runs):
        own = [run for run in runs if run["method"] == method]
        own = [{**run, "schedule": schedule} for run in own]
        row = [f"{method} ({len(own)})"]
        for rows in segments(schedule, own[0]["rollouts"]).values():
            error, floor = [error_over(run, rows) for run in own], [floor_over(run, rows) for run in own]
            ratios = [e / f for e, f in zip(error, floor, strict=True)]
            row += [spread(error), f"{mean(floor):.4f}", spread(ratios, 2)]
        settled = [settling(run) for run in own]
        row.append(", ".join("never" if value is None else str(value) for value in settled))
        row += [f"{max(overshoot(run) for run in own):.3f}", bound_share(own)]
        lines.append([*row, spread([mean(run["reward"][-10:]) for run in own], 3)])
    return table(lines)


def in_short(runs: list[dict[str, Any]], methods: list[str]) -> str:
    """Return the mean errors over seeds, and in brackets their ratio to the noise floor, as a table of the methods."""
    columns = [(schedule, phase) for schedule in SCHEDULES for phase in segments(schedule, runs[0]["rollouts"])]
    lines = [["method", *[f"{schedule}, {phase}" for schedule, phase in columns]]]
    for method in methods:
        cells = []
        for schedule, phase in columns:
            own = [run for run in runs if run["method"] == method]
            own = [run for run in own if run["schedule"] == schedule] or own  # runs without control have no schedule
            rows = segments(schedule, runs[0]["rollouts"])[phase]
            own = [{**run, "schedule": schedule} for run in own]
            error, floor = [mean(over(run, rows) for run in own) for over in (error_over, floor_over)]
            cells.append(f"{error:.3f} ({error / floor:.1f})")
        lines.append([method, *cells])
    return table(lines)


def table(lines: list[list[str]]) -> str:
    head, *body = [f"| {' | '.join(line)} |" for line in lines]
    return "\n".join([head, "|" + "---|" * len(lines[0]), *body]) + "\n"


def compare_conditions(runs: list[dict[str, Any]], conditions: list[str]) -> str:
    """Return the errors in nats, and in brackets their ratio to the noise floor, as a table of the conditions."""
    methods = list(dict.fromkeys(run["method"] for run in runs))
    by_key = {(run["condition"], run["schedule"], run["method"]): run for run in runs}
    lines = [["condition", "schedule, phase", *methods]]
    for condition in conditions:
        for schedule in SCHEDULES:
            own = [by_key.get((condition, schedule, method)) for method in methods]
            for phase, rows in segments(schedule, runs[0]["rollouts"]).items():
                lines.append([condition, f"{schedule}, {phase}", *[share_of_floor(run, rows) for run in own]])
    return table(lines)


def share_of_floor(run: dict[str, Any] | None, rows: range) -> str:
    if run is None:
        return "not measured"
    if run["failure"]:
        return "broke"
    return f"{error_over(run, rows):.4f} ({error_over(run, rows) / floor_over(run, rows):.2f})"


def report(
    runs: dict[tuple, dict[str, Any]], folder: Path, uncontrolled: list[str], methods: list[str], conditions: list[str]
) -> str:
    """
    Write `summary.md` and `tracking.png` into `folder`.

    Args:
        runs (`dict[tuple, dict]`):
            Finished runs, as [`load`] returns them.
        folder (`Path`):
            Folder to write to.
        uncontrolled (`list[str]`), methods (`list[str]`):
            Names of the methods without and with a target, in the order of the rows.
        conditions (`list[str]`):
            Names of the conditions, with the reference first.

    Returns:
        `str`: the text of `summary.md`.
    """
    reference = [run for run in runs.values() if run["condition"] == conditions[0]]
    others = [run for run in runs.values() if run["condition"] != conditions[0]]
    versions = ", ".join(f"{name} {number}" for name, number in reference[0]["versions"].items())
    parts = [
        f"# Control of the Countdown lab's entropy: {reference[0]['rollouts']} rollouts per run\n",
        f"{versions}. The number in brackets after a method counts its runs; ± is the standard deviation over seeds.\n",
        f"- Error: root mean square of target minus entropy, nats, without the first {SETTLING} rollouts.\n"
        "- Noise floor: standard error of one rollout's entropy, nats. A policy exactly on target has this error.\n"
        "- Ratio: error over noise floor.\n"
        "- Settled: first of five rollouts whose mean error is within two of its standard errors, for each seed.\n"
        "- Overshoot: largest mean error of five rollouts beyond the target, nats.\n"
        "- At a bound: share of the rollouts whose control is at a bound of the actuator.\n",
    ]
    parts.append("## In short: mean error in nats (over the noise floor)\n")
    parts.append(in_short(reference, [*uncontrolled, *methods]))
    for schedule in SCHEDULES:
        parts.append(f"## {TITLES[schedule]}\n")
        own = [run for run in reference if run["schedule"] == schedule and run["method"] in methods]
        own += [run for run in reference if run["method"] in uncontrolled]
        parts.append(compare(sorted(own, key=lambda run: [*uncontrolled, *methods].index(run["method"])), schedule))
    parts.append("## Steps that were tried, seed 0, stable_anneal\n")
    tried = [run for run in reference if "step" in run["method"] and run["seed"] == 0]
    parts.append(compare([run for run in tried if run["schedule"] == "stable_anneal"], "stable_anneal"))
    if others:
        compared = {run["method"] for run in others}
        same = [run for run in reference if run["method"] in compared and run["seed"] == 0]
        parts.append("## Other conditions: error in nats (over its noise floor), seed 0\n")
        parts.append(compare_conditions(same + others, conditions))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "summary.md").write_text("\n".join(parts))
    draw(reference, methods, folder / "tracking.png")
    return "\n".join(parts)


def draw(runs: list[dict[str, Any]], methods: list[str], path: Path) -> None:
    """Draw the entropy of the first seed and the band of its noise, one row per method and one column per schedule."""
    figure = Figure(figsize=(11.0, 1.55 * len(methods)), dpi=100, layout="constrained")
    axes = figure.subplots(len(methods), len(SCHEDULES), sharex=True, sharey=True, squeeze=False)
    by_key = {(run["method"], run["schedule"]): run for run in runs if run["seed"] == 0}
    for row, method in zip(axes, methods, strict=True):
        for axis, schedule in zip(row, SCHEDULES, strict=True):
            run = by_key.get((method, schedule))
            if run is None:
                continue
            wanted = target(schedule, run["rollouts"])[: len(run["entropy"])]
            band = [2.0 * se for se in run["entropy_se"]]
            low, high = [[t + side * b for t, b in zip(wanted, band, strict=True)] for side in (-1.0, 1.0)]
            axis.fill_between(range(len(wanted)), low, high, color="#d1495b", alpha=0.2, linewidth=0)
            axis.plot(wanted, color="#d1495b", linewidth=1.0, linestyle="--")
            axis.plot(run["entropy"], color="#1f6fb4", linewidth=0.9)
            axis.set_ylim(0.0, 0.6)
            axis.grid(alpha=0.25, linewidth=0.6)
            axis.spines[["top", "right"]].set_visible(False)
            rows = range(SETTLING, run["rollouts"])
            axis.set_title(f"{method}: {error_over(run, rows):.3f} nats", fontsize=8)
        row[0].set_ylabel("nats")
    title_columns(axes, [TITLES[schedule].replace(": ", ":\n") for schedule in SCHEDULES])
    figure.supxlabel("rollout; dashed: target, band: two standard errors of a rollout around it", fontsize=9)
    figure.savefig(path, metadata={"Software": None})


def title_columns(axes: Any, titles: Sequence[str]) -> None:
    """Write the title of each column above that of its first panel."""
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(f"{title}\n\n{axis.get_title()}", fontsize=8)
