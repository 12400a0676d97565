"""The figure of a run: `es_curves.png` from `es_history.jsonl`."""

import functools
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..common.writing import replacement
from .history import HISTORY_FILE, read_history, read_loop


FIGURE_FILE = "es_curves.png"
INK, TARGET, MEASURED, CONTROL, REWARD, LENGTH = "#333333", "#d1495b", "#1f6fb4", "#6a4c93", "#2a9d5c", "#c77700"
ANNEAL = "#f2c14e"
CONTROLS = (CONTROL, "#c77700", "#2a9d5c", MEASURED)  # colors of the actuators of a chain

Records = list[dict[str, Any]]


def plot_run(run_dir: str | Path) -> Path:
    """
    Draw the target and the entropy, the control, the reward and the completion length over the rollouts.

    Args:
        run_dir (`str` or `Path`):
            The `output_dir` of a run.

    Returns:
        `Path`: the figure, `es_curves.png` in that folder.

    Raises:
        ValueError: if there is no run, or it has finished no rollout.
        ImportError: if matplotlib is not installed.
    """
    path = Path(run_dir) / HISTORY_FILE
    records = read_history(path) if path.exists() else []
    if not records:
        fault = "holds no rollout" if path.exists() else "does not exist"
        raise ValueError(f"{path} {fault}: give the output_dir of a run that has finished a rollout")
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError(
            "matplotlib is not installed, but the figure needs it: run pip install 'es-trl[plots]'"
        ) from None
    panels = [_draw_entropy, _draw_reward, _draw_length]
    loop = read_loop(run_dir)
    if loop is not None:
        panels.insert(1, functools.partial(_draw_control, bounds=loop["bounds"]))
    figure = Figure(figsize=(8.0, 1.0 + 1.75 * len(panels)), dpi=120, layout="constrained")
    axes = figure.subplots(len(panels), 1, sharex=True)
    for draw, axis in zip(panels, axes, strict=True):
        _mark(axis, records)
        draw(axis, records)
        axis.grid(alpha=0.25, linewidth=0.6)
        axis.spines[["top", "right"]].set_visible(False)
    axes[-1].set_xlabel("rollout")
    figure.align_ylabels(axes)
    output, image = Path(run_dir) / FIGURE_FILE, io.BytesIO()
    figure.savefig(image, format="png", metadata={"Software": None})
    with replacement(output) as file:
        file.write(image.getbuffer())
    return output


def smooth(values: list[float], window: int) -> list[float]:
    """Return the trailing mean over at most `window` values."""
    return [sum(values[max(0, i + 1 - window) : i + 1]) / min(i + 1, window) for i in range(len(values))]


def control_axis(values: Sequence[float], bounds: Sequence[float]) -> tuple[float, float]:
    """Return the ends of the control's axis: a bound far beyond all values would make a flat line of them."""
    low, high = min(values), max(values)
    room = (high - low) or abs(high) or 1.0
    near = [bound for bound in bounds if low - room <= bound <= high + room]
    return min([low, *near]) - 0.06 * room, max([high, *near]) + 0.06 * room


def _series(records: Records, *names: str) -> list[np.ndarray]:
    """Return the rollouts that have a value for all these fields, and the values of each field."""
    present = [record for record in records if all(record[name] is not None for name in names)]
    return [np.array([record[name] for record in present]) for name in ("rollout", *names)]


def _mark(axis: Any, records: Records) -> None:
    """Shade the anneal phase, and draw a vertical line for each event."""
    annealing = [record["rollout"] for record in records if record["stage"] == "anneal"]
    if annealing:
        axis.axvspan(annealing[0], annealing[-1], color=ANNEAL, alpha=0.22, linewidth=0)
    marks = {"hand_over": (CONTROL, "-"), "alarm": (TARGET, ":"), "switch": (INK, "--")}
    for record in records:
        for event in record["events"] or []:
            if event["kind"] != "push":  # pushes do not affect entropy
                color, style = marks.get(event["kind"], (INK, ":"))  # callbacks may add other kinds
                axis.axvline(record["rollout"], color=color, linestyle=style, linewidth=1.0, alpha=0.7)


def _draw_entropy(axis: Any, records: Records) -> None:
    rollouts, targets, noise = _series(records, "target", "entropy_se")
    if len(rollouts):
        label, band = "target ± 2 standard errors of a rollout", (targets - 2 * noise, targets + 2 * noise)
        axis.fill_between(rollouts, *band, color=TARGET, alpha=0.18, linewidth=0, label=label)
    axis.plot(*_series(records, "target"), color=TARGET, linewidth=1.4, linestyle="--", label="target")
    axis.plot(*_series(records, "entropy"), color=MEASURED, linewidth=1.0, label="entropy")
    rollouts, clamped = _series(records, "clamped_entropy")
    if len(rollouts):
        label = "clamped entropy (controlled)"
        axis.plot(rollouts, clamped, color=CONTROL, linewidth=1.0, linestyle=":", label=label)
    axis.set_ylabel("entropy, nats")
    axis.set_ylim(bottom=0)
    if any(record["stage"] == "anneal" for record in records):
        axis.fill_between([], [], color=ANNEAL, alpha=0.35, label="anneal phase")
    axis.legend(loc="lower left", fontsize=8, frameon=False, ncols=2)


def _draw_control(axis: Any, records: Records, bounds: dict[str, list[float]]) -> None:
    """Draw the control of a single actuator. For a chain, draw the control of each relative to its range (0 to 1)."""
    acting = list(dict.fromkeys(record["actuator"] for record in records if record["actuator"] is not None))
    single = len(bounds) == 1
    limits = next(iter(bounds.values())) if single else (0.0, 1.0)
    controls = [record["control"] for record in records if record["control"] is not None]
    ends = control_axis(controls if single and controls else limits, limits)
    shown = [limit for limit in limits if ends[0] <= limit <= ends[1]]
    for limit in shown:
        axis.axhline(limit, color=INK, linewidth=0.8, linestyle=":")
    if len(shown) < len(limits):
        words = "bounds: {:.4g} and {:.4g}".format(*limits)
        axis.annotate(words, (0.99, 1.0), xycoords="axes fraction", ha="right", va="top", fontsize=8, color=INK)
    saturated = []
    for color, name in zip(CONTROLS, acting, strict=False):
        low, high = (0.0, 1.0) if single else bounds[name]
        shares = [(r["control"] - low) / (high - low) if r["actuator"] == name else np.nan for r in records]
        axis.plot([r["rollout"] for r in records], shares, color=color, linewidth=1.2, label=None if single else name)
        own = [(r, share) for r, share in zip(records, shares, strict=True) if r["actuator"] == name]
        saturated += [(r["rollout"], share) for r, share in own if r["saturated"]]
    if saturated:
        points = zip(*saturated, strict=True)
        axis.plot(*points, linestyle="", marker=".", markersize=4, color=TARGET, label="at a bound")
    names = {name for record in records for name in record["settings"] or {}}
    axis.set_ylabel(names.pop() if len(names) == 1 else "control" if single else "control / range")
    if saturated or not single:
        axis.legend(loc="best", fontsize=8, frameon=False)


def _draw_reward(axis: Any, records: Records) -> None:
    rollouts, reward = _series(records, "reward")
    axis.plot(rollouts, reward, color=REWARD, linewidth=0.7, alpha=0.45)
    axis.plot(rollouts, smooth(reward, 10), color=REWARD, linewidth=1.6, label="mean of 10 rollouts")
    axis.set_ylabel("reward")
    axis.legend(loc="lower right", fontsize=8, frameon=False)


def _draw_length(axis: Any, records: Records) -> None:
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
