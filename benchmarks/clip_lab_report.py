"""The table and the figure of benchmarks/clip_lab.py, made from its data."""

from pathlib import Path
from statistics import mean
from typing import Any

from control_report import rms, spread, table, targets_of, title_columns
from matplotlib.figure import Figure


KEY = ("method", "schedule", "seed")
SETTLING = 8  # number of rollouts at the start that the error leaves out
SCHEDULES = {
    "constant": {"kind": "constant", "target": 0.38},
    "cosine": {"kind": "cosine", "start": 0.46, "end": 0.28},
    "stable_anneal": {"kind": "stable_anneal", "target": 0.4, "end": 0.28, "ratio": 0.4},
}
TITLES = {
    "constant": "constant: 0.38 nats",
    "cosine": "cosine: 0.46 to 0.28 nats",
    "stable_anneal": "0.4 nats, annealed to 0.28",
}
COLORS = ("#1f6fb4", "#d1495b", "#3a9679")


def runs_of(runs: list[dict[str, Any]], method: str, schedule: str) -> list[dict[str, Any]]:
    """Return the runs of a method on a schedule; runs without control have none and count for each."""
    own = [run for run in runs if run["method"] == method]
    return own if own and own[0]["control"][0] is None else [run for run in own if run["schedule"] == schedule]


def error(run: dict[str, Any], schedule: str) -> float:
    """Return the root-mean-square error after the first rollouts, nats; infinite for a run that broke."""
    if run["failure"]:
        return float("inf")
    wanted = targets_of(SCHEDULES[schedule], len(run["entropy"]))
    return rms([target - h for target, h in zip(wanted, run["entropy"], strict=True)][SETTLING:])


def report(runs: list[dict[str, Any]], methods: list[str], folder: Path) -> str:
    """Write `summary.md` and `tracking.png` into `folder`, and return the text of the summary."""
    rollouts, seeds = len(runs[0]["entropy"]), len({run["seed"] for run in runs})
    parts = [
        f"# The upper clip alone: {rollouts} rollouts per run; seeds: {seeds}\n",
        "Setting: `recipes/countdown_clip.yaml`, four passes over each rollout (`num_iterations: 4`), 0.2/0.28.\n",
        f"- Error: root mean square of target minus entropy, nats, without the first {SETTLING} rollouts; ± is the "
        "standard deviation over seeds.\n- Noise floor: the same for a policy exactly on target, from the standard "
        "errors of the entropy.\n- Last 5: mean entropy of the last five rollouts, nats, and mean reward.\n",
    ]
    for schedule in SCHEDULES:
        rows = [["method (runs)", "error", "noise floor", "entropy, last 5", "reward, last 5", "tokens clipped above"]]
        for method in methods:
            own = runs_of(runs, method, schedule)
            if own:
                floor = mean(rms(run["entropy_se"][SETTLING:]) for run in own)
                ends = [spread([mean(run[name][-5:]) for run in own], 3) for name in ("entropy", "reward")]
                share = mean(mean(value or 0.0 for value in run["clip_high_fraction"]) for run in own)
                errors = spread([error(run, schedule) for run in own], 3)
                rows.append([f"{method} ({len(own)})", errors, f"{floor:.3f}", *ends, f"{share:.3f}"])
        parts += [f"## {TITLES[schedule]}\n", table(rows)]
    text = "\n".join(parts)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "summary.md").write_text(text)
    draw(runs, methods, folder / "tracking.png")
    return text


def draw(runs: list[dict[str, Any]], methods: list[str], path: Path) -> None:
    """Draw entropy and target, one row per method with runs and one column per schedule, with one line per seed."""
    methods = [method for method in methods if any(runs_of(runs, method, schedule) for schedule in SCHEDULES)]
    figure = Figure(figsize=(11.0, 1.6 * len(methods)), dpi=100, layout="constrained")
    axes = figure.subplots(len(methods), len(SCHEDULES), sharex=True, sharey=True, squeeze=False)
    for row, method in zip(axes, methods, strict=True):
        for axis, schedule in zip(row, SCHEDULES, strict=True):
            own = runs_of(runs, method, schedule)
            if not own:
                axis.set_visible(False)
                continue
            for run, color in zip(own, COLORS, strict=False):
                axis.plot(run["entropy"], color=color, linewidth=0.9)
            wanted = targets_of(SCHEDULES[schedule], len(own[0]["entropy"]))
            axis.plot(wanted, color="black", linewidth=1.0, linestyle="--")
            axis.set_title(f"{method}: {mean(error(run, schedule) for run in own):.3f} nats", fontsize=8)
            axis.grid(alpha=0.25, linewidth=0.6)
            axis.spines[["top", "right"]].set_visible(False)
        row[0].set_ylabel("nats")
    title_columns(axes, [TITLES[schedule] for schedule in SCHEDULES])
    for column in axes.T:
        for axis in [axis for axis in column if axis.get_visible()][-1:]:
            axis.tick_params(labelbottom=True)
    axes[0][0].set_ylim(0.1, 0.8)
    figure.supxlabel("rollout; dashed: target, one line per seed", fontsize=9)
    figure.savefig(path, metadata={"Software": None})
