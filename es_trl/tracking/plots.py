"""The figure of a run: `es_curves.png` from `es_history.jsonl`."""

import functools
import math
from pathlib import Path
from typing import Any

from .history import HISTORY_FILE, read_history, read_loop


FIGURE_FILE = "es_curves.png"
INK, TARGET, MEASURED, CONTROL, REWARD, LENGTH = "#333333", "#d1495b", "#1f6fb4", "#6a4c93", "#2a9d5c", "#c77700"
CONTROLS = (CONTROL, "#c77700", "#2a9d5c", MEASURED)  # of the actuators of a chain


def plot_run(run_dir: str | Path) -> Path:
    """
    Draw target and entropy, control, reward and completion length over rollouts, the annealing stage shaded.

    Args:
        run_dir (`str` or `Path`):
            A run's `output_dir`.

    Returns:
        `Path`: the figure, in `run_dir`.

    Raises:
        ValueError: where the run has no history yet.
        ImportError: where matplotlib is not installed.
    """
    path = Path(run_dir) / HISTORY_FILE
    records = read_history(path) if path.exists() else []
    if not records:
        raise ValueError(f"{path} holds no rollout: give the output_dir of a run that has finished one")
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError("the figure needs matplotlib, which is not installed: pip install 'es-trl[plots]'") from None
    panels = [_draw_entropy, _draw_reward, _draw_length]
    loop = read_loop(run_dir)
    if loop is not None:
        panels.insert(1, functools.partial(_draw_control, bounds=loop["bounds"]))
    figure = Figure(figsize=(8.0, 1.0 + 1.75 * len(panels)), dpi=120, layout="constrained")
    axes = figure.subplots(len(panels), 1, sharex=True)
    for draw, axis in zip(panels, axes, strict=True):
        _shade_anneal(axis, records)
        _mark_events(axis, records)
        draw(axis, records)
        axis.grid(alpha=0.25, linewidth=0.6)
        axis.spines[["top", "right"]].set_visible(False)
    axes[-1].set_xlabel("rollout")
    figure.align_ylabels(axes)
    output = Path(run_dir) / FIGURE_FILE
    figure.savefig(output, metadata={"Software": None})
    return output


def _series(records: list[dict[str, Any]], name: str) -> tuple[list[int], list[float]]:
    present = [record for record in records if record[name] is not None]
    return [record["rollout"] for record in present], [record[name] for record in present]


def smooth(values: list[float], window: int) -> list[float]:
    """Trailing mean over at most `window` values."""
    return [sum(values[max(0, i + 1 - window) : i + 1]) / min(i + 1, window) for i in range(len(values))]


def _shade_anneal(axis: Any, records: list[dict[str, Any]]) -> None:
    annealing = [record["rollout"] for record in records if record["stage"] == "anneal"]
    if annealing:
        axis.axvspan(annealing[0], annealing[-1], color="#f2c14e", alpha=0.22, linewidth=0)


def _draw_entropy(axis: Any, records: list[dict[str, Any]]) -> None:
    banded = [record for record in records if record["target"] is not None and record["entropy_se"] is not None]
    if banded:
        targets, noise = [[record[name] for record in banded] for name in ("target", "entropy_se")]
        axis.fill_between(
            [record["rollout"] for record in banded],
            [target - 2 * se for target, se in zip(targets, noise, strict=True)],
            [target + 2 * se for target, se in zip(targets, noise, strict=True)],
            color=TARGET,
            alpha=0.18,
            linewidth=0,
            label="target ± 2 standard errors of a rollout",
        )
    axis.plot(*_series(records, "target"), color=TARGET, linewidth=1.4, linestyle="--", label="target")
    axis.plot(*_series(records, "entropy"), color=MEASURED, linewidth=1.0, label="entropy")
    if any(record["clamped_entropy"] is not None for record in records):
        clamped = _series(records, "clamped_entropy")
        axis.plot(*clamped, color=CONTROL, linewidth=1.0, linestyle=":", label="clamped entropy, which is held")
    axis.set_ylabel("entropy, nats")
    axis.set_ylim(bottom=0)
    if any(record["stage"] == "anneal" for record in records):
        axis.fill_between([], [], color="#f2c14e", alpha=0.35, label="annealing")
    axis.legend(loc="lower left", fontsize=8, frameon=False, ncols=2)


def _draw_control(axis: Any, records: list[dict[str, Any]], bounds: dict[str, list[float]]) -> None:
    """The control of the one actuator, or, of several, which share of its range each was at."""
    acting = list(dict.fromkeys(record["actuator"] for record in records if record["actuator"] is not None))
    single = len(bounds) == 1
    for limit in next(iter(bounds.values())) if single else (0.0, 1.0):
        axis.axhline(limit, color=INK, linewidth=0.8, linestyle=":")
    saturated = []
    for color, name in zip(CONTROLS, acting, strict=False):
        low, high = (0.0, 1.0) if single else bounds[name]
        shares = [(r["control"] - low) / (high - low) if r["actuator"] == name else math.nan for r in records]
        axis.plot([r["rollout"] for r in records], shares, color=color, linewidth=1.2, label=None if single else name)
        saturated += [(r["rollout"], share) for r, share in zip(records, shares, strict=True) if r["saturated"]]
    saturated = [(rollout, share) for rollout, share in saturated if not math.isnan(share)]
    if saturated:
        rollouts, shares = zip(*saturated, strict=True)
        axis.plot(rollouts, shares, linestyle="", marker=".", markersize=4, color=TARGET, label="at a bound")
    names = {name for record in records for name in record["settings"] or {}}
    axis.set_ylabel(names.pop() if len(names) == 1 else "control" if single else "control, of its range")
    if saturated or not single:
        axis.legend(loc="best", fontsize=8, frameon=False)


def _mark_events(axis: Any, records: list[dict[str, Any]]) -> None:
    marks = {"hand_over": (CONTROL, "-"), "alarm": (TARGET, ":"), "switch": (INK, "--"), "guard": (INK, ":")}
    for record in records:
        for event in record["events"] or []:
            if event["kind"] == "push":  # says nothing of entropy
                continue
            color, style = marks.get(event["kind"], (INK, ":"))  # a callback may have its own
            axis.axvline(record["rollout"], color=color, linestyle=style, linewidth=1.0, alpha=0.7)


def _draw_reward(axis: Any, records: list[dict[str, Any]]) -> None:
    rollouts, reward = _series(records, "reward")
    axis.plot(rollouts, reward, color=REWARD, linewidth=0.7, alpha=0.45)
    axis.plot(rollouts, smooth(reward, 10), color=REWARD, linewidth=1.6, label="mean of 10 rollouts")
    axis.set_ylabel("reward")
    axis.legend(loc="lower right", fontsize=8, frameon=False)


def _draw_length(axis: Any, records: list[dict[str, Any]]) -> None:
    rollouts, tokens = _series(records, "completion_tokens")
    axis.plot(rollouts, tokens, color=LENGTH, linewidth=1.0, label="mean")
    top = max(tokens, default=1.0)
    if len({record["max_completion_length"] for record in records}) > 1:  # a stage changed it
        allowed = _series(records, "max_completion_length")
        axis.plot(*allowed, color=INK, linewidth=1.0, linestyle=":", drawstyle="steps-post", label="longest allowed")
        axis.legend(loc="lower right", fontsize=8, frameon=False)
        top = max(top, *allowed[1])
    axis.set_ylim(0, 1.2 * top)
    axis.set_ylabel("completion, tokens")
