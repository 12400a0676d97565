"""The tables and the figure of benchmarks/methods.py, made from its data."""

import math
from pathlib import Path
from statistics import mean
from typing import Any

import control_report
from control_report import SCHEDULES, SETTLING, TITLES, rms, spread, table, target
from matplotlib.figure import Figure


# Methods without a target, whose runs are compared with every schedule
OPEN = ("grpo", "dapo", "clip_cov", "kl_cov", "flexec", "flexec, OD", "ce_gppo", "qae", "pass_at_k")
COMPLETIONS = 512  # number per rollout in these runs
KEY = ("method", "schedule", "seed", "rollouts")
PASSES = ("pass@1", "pass@8", "pass@64")
COLORS = dict(zip(SCHEDULES, ("#1f6fb4", "#c77700", "#2a9d5c"), strict=True))
Run = dict[str, Any]


def load(path: Path) -> dict[tuple, Run]:
    """Return finished runs by their key."""
    return control_report.load(path, KEY)


def held(run: Run) -> list[float]:
    """Return the entropy that the method controls, nats: the clamped one if it is measured."""
    return run["entropy"] if run["clamped_entropy"][0] is None else run["clamped_entropy"]


def error(run: Run, schedule: str) -> float:
    """Return the root-mean-square error without the first rollouts, nats; the target of a band is its middle."""
    if run["failure"]:
        return math.inf
    off = [wanted - own for wanted, own in zip(target(schedule, run["rollouts"]), held(run), strict=True)]
    return rms(off[min(SETTLING, run["rollouts"] // 2) :])


def of_seeds(runs: dict[tuple, Run], method: str, schedule: str) -> list[Run]:
    """Return the runs of a method on a schedule; a method without control has the same runs for every schedule."""
    own = "none" if method in OPEN else schedule
    return [run for key, run in sorted(runs.items(), key=lambda item: item[0][2]) if key[:2] == (method, own)]


def cells(values: list[float], digits: int = 3) -> str:
    """Return mean and standard deviation over seeds, or "-" without values."""
    return spread(values, digits) if values else "-"


def named(method: str, own: list[Run], seeds: int) -> str:
    """Return the name of a method, with the number of its runs where it has fewer than others."""
    return method if len(own) in (0, seeds) else f"{method} ({len(own)} seed{'s' * (len(own) > 1)})"


def seeds_of(runs: dict[tuple, Run]) -> int:
    """Return the number of seeds in the data."""
    return len({key[2] for key in runs})


def rows_of(runs: dict[tuple, Run], methods: list[str], schedule: str) -> list[list[str]]:
    """Return the table of one schedule, with one row per method and all seeds together."""
    rows = [["method", "error, nats", "entropy at the end", "reward at the end", *PASSES]]
    for method in methods:
        own = of_seeds(runs, method, schedule)
        ends = [cells([mean(run[name][-10:]) for run in own]) for name in ("entropy", "reward")]
        scores = [cells([run["scores"][k] for run in own if run["scores"]]) for k in PASSES]
        name = named(method, own, seeds_of(runs))
        rows.append([name, cells([error(run, schedule) for run in own]), *ends, *scores])
    return rows


def in_short(runs: dict[tuple, Run], times: dict[str, float], methods: list[str]) -> list[list[str]]:
    """Return the short table: the error on every schedule, pass@k after the anneal, and the time."""
    rows = [["method", *(f"error, {schedule}" for schedule in SCHEDULES), *PASSES, "time per rollout"]]
    for method in methods:
        found = [[error(run, schedule) for run in of_seeds(runs, method, schedule)] for schedule in SCHEDULES]
        errors = [f"{mean(values):.3f}" if values else "-" for values in found]
        annealed = of_seeds(runs, method, "stable_anneal")
        scores = [cells([run["scores"][k] for run in annealed if run["scores"]]) for k in PASSES]
        time = f"{times[method] / times['grpo']:.2f}" if method in times else "-"
        rows.append([named(method, annealed, seeds_of(runs)), *errors, *scores, time])
    return rows


def dapo_tokens(runs: dict[tuple, Run]) -> float:
    """Return how many times as many tokens dapo's runs generated as they trained on."""
    own = of_seeds(runs, "dapo", "none")
    trained = sum(COMPLETIONS * sum(run["completion_tokens"]) for run in own)
    return 1.0 + sum(run["extra_tokens"] for run in own) / trained


def report(runs: dict[tuple, Run], times: dict[str, float], methods: list[str], folder: Path) -> str:
    """Write summary.md and tracking.png into `folder`, and return the text of summary.md."""
    rollouts, versions = next((run["rollouts"], run["versions"]) for run in runs.values())
    seeds = seeds_of(runs)
    parts = [
        f"# Published methods on the Countdown lab: {rollouts} rollouts, {seeds} seed{'s' * (seeds > 1)}",
        "`python benchmarks/methods.py run`; " + ", ".join(f"{name} {number}" for name, number in versions.items()),
        "- Numbers: the published ones, but the coefficients of entropy bonuses are 50 times as large. The targets are "
        "those of the schedule.\n"
        "- Error: root mean square of target minus the entropy that the method holds, nats, without the first "
        f"{SETTLING} rollouts. The target of a band is its middle.\n"
        f"- Methods without a target ({', '.join(OPEN)}) have one set of runs. Their error is the distance of these to "
        "each schedule.\n"
        "- At the end: mean of the last 10 rollouts.\n"
        "- pass@k: 250 prompts of three numbers, 64 completions per prompt.\n"
        "- Time: lower quartile of 16 rollouts on one core, relative to grpo, in runs of their own.\n"
        "- ±: standard deviation over seeds.\n"
        f"- The runs of dapo generated {dapo_tokens(runs):.2f} times the tokens that they trained on.",
        "## In short\n\nError on each schedule in nats, mean over seeds; pass@k after stable_anneal.",
        table(in_short(runs, times, methods)).rstrip(),
    ]
    parts += [f"## {TITLES[schedule]}\n\n{table(rows_of(runs, methods, schedule)).rstrip()}" for schedule in SCHEDULES]
    folder.mkdir(parents=True, exist_ok=True)
    text = "\n\n".join(parts) + "\n"
    (folder / "summary.md").write_text(text)
    draw(runs, methods, folder / "tracking.png")
    return text


def clips_report(runs: dict[tuple, Run], methods: list[str], folder: Path) -> str:
    """Write clips.md into `folder`, the table of the setting in which clips act, and return its text."""
    rollouts, seeds = next(iter(runs.values()))["rollouts"], seeds_of(runs)
    parts = [
        f"# Where clips act: {rollouts} rollouts, {seeds} seed{'s' * (seeds > 1)}",
        "`python benchmarks/methods.py run --clips`: the setting of `recipes/countdown_clip.yaml`, with four passes "
        f"over each rollout. The target is {SCHEDULES['constant']['target']} nats; the rest is as in summary.md.",
        table(rows_of(runs, methods, "constant")).rstrip(),
    ]
    text = "\n\n".join(parts) + "\n"
    (folder / "clips.md").write_text(text)
    return text


def draw(runs: dict[tuple, Run], methods: list[str], path: Path) -> None:
    """Draw target and entropy of the first seed, with one panel per method and one colour per schedule."""
    figure = Figure(figsize=(11.0, 1.9 * math.ceil(len(methods) / 4)), dpi=100, layout="constrained")
    axes = figure.subplots(math.ceil(len(methods) / 4), 4, sharex=True, sharey=True, squeeze=False).flatten()
    for axis in axes[len(methods) :]:
        axis.set_visible(False)
    for axis in axes[max(len(methods) - 4, 0) : len(methods)]:
        axis.tick_params(labelbottom=True)  # the last one of its column
    for axis, method in zip(axes, methods, strict=False):
        for schedule, color in COLORS.items():
            run = next(iter(of_seeds(runs, method, schedule)), None)
            if run is None:
                continue
            if method not in OPEN:
                axis.plot(target(schedule, run["rollouts"]), color=color, linewidth=1.0, linestyle="--")
            line = held(run)
            axis.plot(line, color="#333333" if method in OPEN else color, linewidth=1.0, label=schedule)
        axis.set_ylim(0.0, 0.8)
        axis.set_title(method, fontsize=9)
        axis.grid(alpha=0.25, linewidth=0.6)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].legend(fontsize=7, frameon=False)
    figure.supxlabel("rollout; dashed: target", fontsize=9)
    figure.supylabel("entropy, nats", fontsize=9)
    figure.savefig(path, metadata={"Software": None})
