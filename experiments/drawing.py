"""The figures of the reproduction: a seed is a thin line or a dot, the mean is a thick line or a diamond."""

from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from claims import CONSTANTS, RATIOS, Run, Runs, pass_at, unbroken
from following import follows, has_target
from matplotlib.figure import Figure

from es_trl.tracking.plots import smooth


COLORS = ("#d1495b", "#c77700", "#2a9d5c", "#1f6fb4", "#7b4fa3", "#333333", "#888888")
UNITS = {"entropy": "entropy, nats", "reward": "reward", "completion_tokens": "length, tokens"}
HOW = {  # the columns of Fig. 2
    "held by the bonus": ("anneal_first", "stable", "stable_anneal"),
    "held by the KL penalty": ("anneal_first", "kl_stable", "kl_stable_anneal"),
    "held by the upper clip": ("clip_anneal_first", "clip_stable", "clip_stable_anneal"),
}
CURVES = {  # the columns of the other figures, one row per series
    "fig5": {
        "constants": tuple(CONSTANTS),
        "cosine": ("stable", "cosine"),
        "anneal ratios": tuple(RATIOS),
    },
    "fig7": {"anneal": ("stable", "stable_anneal", "cosine"), "constants": tuple(CONSTANTS)},
}
DOTS = {  # by what they are
    "a seed": {"marker": "o", "color": COLORS[3], "markerfacecolor": COLORS[3]},
    "off its target, not counted": {"marker": "o", "color": COLORS[3], "markerfacecolor": "none"},
    "mean": {"marker": "D", "color": COLORS[0], "markerfacecolor": COLORS[0]},
}
SERIES = {"fig2": ("entropy", "reward"), "fig5": ("entropy", "reward"), "fig7": ("completion_tokens",)}


def draw(figure: str, arms: Sequence[str], runs: Runs, path: Path) -> bool:
    """Draw one figure of the paper from the runs that did not break; return whether there are enough to compare."""
    own = unbroken(arms, runs)
    columns = HOW if figure == "fig2" else CURVES.get(figure, {})
    columns = {title: [arm for arm in named if arm in own] for title, named in columns.items()}
    columns = {title: named for title, named in columns.items() if len(named) > 1}
    if not columns if figure in SERIES else 2 * len(own) <= len(arms):
        return False
    rows = SERIES.get(figure, ())
    last = 0 if figure == "fig7" else 1
    width = 2 if figure == "fig6" else max(len(columns), 1)
    canvas = Figure(figsize=(max(4.2 * width, 7.0), 2.6 * (len(rows) + last)), dpi=100, layout="constrained")
    axes = canvas.subplots(len(rows) + last, width, squeeze=False)
    for row, series in zip(axes, rows, strict=False):
        for axis, (title, named) in zip(row, columns.items(), strict=True):
            draw_series(axis, series, {arm: own[arm] for arm in named}, names_arms=not last)
            axis.set_title(title, fontsize=9)
    if figure in ("fig4a", "fig6"):
        for place, axis in enumerate(axes[-1]):
            draw_dots(axis, {arm: own[arm] for arm in arms if arm in own}, place)
    elif last:
        for axis, named in zip(axes[-1], columns.values() or [list(own)], strict=True):
            draw_pass_at_k(axis, {arm: own[arm] for arm in named})
    canvas.savefig(path, metadata={"Software": None})
    return True


def draw_series(axis: Any, series: str, runs: dict[str, list[Run]], names_arms: bool) -> None:
    """Draw a series over the rollouts, and the targets of the entropy as dashes."""
    targets = {}
    for place, ((arm, own), color) in enumerate(zip(runs.items(), COLORS, strict=False)):
        window = max(len(own[0][series]) // 40, 5) if series == "reward" else 1
        lines = [smooth(run[series], window) for run in own]
        for line in lines:
            axis.plot(line, color=color, linewidth=0.6, alpha=0.35)
        # two arms may be equal for most of the run: the later one is thinner, so that both are seen
        width = max(3.2 - 0.9 * place, 1.2)
        means = [mean(values) for values in zip(*lines, strict=False)]
        axis.plot(means, color=color, linewidth=width, label=named(arm, own) if names_arms else None)
        if series == "entropy" and has_target(own[0]):
            targets[tuple(own[0]["target"])] = "target" if not targets else None
    for target, label in targets.items():
        axis.plot(target, color="#333333", linewidth=0.7, linestyle="--", label=label)
    dress(axis, UNITS[series], "rollout")


def draw_pass_at_k(axis: Any, runs: dict[str, list[Run]]) -> None:
    """Draw pass@k over k on the first data set."""
    for (arm, own), color in zip(runs.items(), COLORS, strict=False):
        curves = [next(iter(run["pass@k"].values())) for run in own]
        ks = [int(k) for k in curves[0]]
        for curve in curves:
            axis.plot(ks, list(curve.values()), color=color, linewidth=0.6, alpha=0.35)
        means = [mean(curve[str(k)] for curve in curves) for k in ks]
        axis.plot(ks, means, color=color, linewidth=1.5, marker="o", markersize=3, label=named(arm, own))
        axis.set_xscale("log", base=2)
        axis.set_xticks(ks, map(str, ks))
    dress(axis, "pass@k", "k")


def named(arm: str, runs: Sequence[Run]) -> str:
    """Return the name of an arm with the number of its seeds."""
    return f"{arm} ({len(runs)} seed{'s' * (len(runs) > 1)})"


def draw_dots(axis: Any, runs: dict[str, list[Run]], place: int) -> None:
    """Draw pass@1 of every arm on the data set at `place`. Only runs that followed their target are in the mean."""
    measured = pass_at("1", place).of
    for row, own in enumerate(runs.values()):
        counted, strayed = ([measured(run) for run in own if follows(run) == kind] for kind in (True, False))
        for dots, style in zip((counted, strayed), DOTS.values(), strict=False):
            axis.plot(dots, [row] * len(dots), linestyle="", markersize=4, alpha=0.6, **style)
        if counted:
            axis.plot([mean(counted)], [row], markersize=6, **DOTS["mean"])
    axis.set_yticks(range(len(runs)), list(runs), fontsize=8)
    axis.set_ylim(len(runs) - 0.5, -0.5)
    title = list(next(iter(runs.values()))[0]["pass@k"])[place]
    for label, style in DOTS.items():
        axis.plot([], [], linestyle="", markersize=5, label=label, **style)
    dress(axis, "", f"pass@1, {title}")
    axis.legend(fontsize=7, frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)


def dress(axis: Any, vertical: str, horizontal: str) -> None:
    """Set labels, legend and grid of an axis."""
    axis.set_ylabel(vertical, fontsize=8)
    axis.set_xlabel(horizontal, fontsize=8)
    axis.tick_params(labelsize=8)
    axis.grid(alpha=0.25, linewidth=0.6)
    axis.spines[["top", "right"]].set_visible(False)
    if axis.get_legend_handles_labels()[0]:
        axis.legend(fontsize=7, frameon=False)
