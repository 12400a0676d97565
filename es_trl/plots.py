"""The figure of a run: `es_curves.png` from `es_history.jsonl`."""

import functools
from pathlib import Path
from typing import Any

from .history import HISTORY_FILE, read_history, read_loop


FIGURE_FILE = "es_curves.png"
INK, TARGET, MEASURED, CONTROL, REWARD, LENGTH = "#333333", "#d1495b", "#1f6fb4", "#6a4c93", "#2a9d5c", "#c77700"


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
        panels.insert(1, functools.partial(_draw_control, bounds=(loop["low"], loop["high"])))
    figure = Figure(figsize=(8.0, 1.0 + 1.75 * len(panels)), dpi=120, layout="constrained")
    axes = figure.subplots(len(panels), 1, sharex=True)
    for draw, axis in zip(panels, axes, strict=True):
        _shade_anneal(axis, records)
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


def _smooth(values: list[float], window: int) -> list[float]:
    """Trailing mean over at most `window` values."""
    return [sum(values[max(0, i + 1 - window) : i + 1]) / min(i + 1, window) for i in range(len(values))]


def _shade_anneal(axis: Any, records: list[dict[str, Any]]) -> None:
    annealing = [record["rollout"] for record in records if record["stage"] == "anneal"]
    if annealing:
        axis.axvspan(annealing[0], annealing[-1], color="#f2c14e", alpha=0.22, linewidth=0)


def _draw_entropy(axis: Any, records: list[dict[str, Any]]) -> None:
    axis.plot(*_series(records, "entropy"), color=MEASURED, linewidth=1.0, label="entropy")
    axis.plot(*_series(records, "target"), color=TARGET, linewidth=1.6, linestyle="--", label="target")
    axis.set_ylabel("entropy, nats")
    axis.set_ylim(bottom=0)
    if any(record["stage"] == "anneal" for record in records):
        axis.fill_between([], [], color="#f2c14e", alpha=0.35, label="annealing")
    axis.legend(loc="lower left", fontsize=8, frameon=False, ncols=3)


def _draw_control(axis: Any, records: list[dict[str, Any]], bounds: tuple[float, float]) -> None:
    for bound in bounds:
        axis.axhline(bound, color=INK, linewidth=0.8, linestyle=":")
    axis.plot(*_series(records, "control"), color=CONTROL, linewidth=1.2)
    saturated = [record for record in records if record["saturated"]]
    if saturated:
        axis.plot(
            [record["rollout"] for record in saturated],
            [record["control"] for record in saturated],
            linestyle="",
            marker=".",
            markersize=4,
            color=TARGET,
            label="at a bound",
        )
        axis.legend(loc="best", fontsize=8, frameon=False)
    names = {name for record in records for name in record["settings"] or {}}
    axis.set_ylabel(names.pop() if len(names) == 1 else "control")


def _draw_reward(axis: Any, records: list[dict[str, Any]]) -> None:
    rollouts, reward = _series(records, "reward")
    axis.plot(rollouts, reward, color=REWARD, linewidth=0.7, alpha=0.45)
    axis.plot(rollouts, _smooth(reward, 10), color=REWARD, linewidth=1.6, label="mean of 10 rollouts")
    axis.set_ylabel("reward")
    axis.legend(loc="lower right", fontsize=8, frameon=False)


def _draw_length(axis: Any, records: list[dict[str, Any]]) -> None:
    rollouts, tokens = _series(records, "completion_tokens")
    axis.plot(rollouts, tokens, color=LENGTH, linewidth=1.0)
    axis.set_ylim(0, 1.2 * max(tokens, default=1.0))
    axis.set_ylabel("completion, tokens")
