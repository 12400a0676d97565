"""The figure of a sweep: pass@k over the values of each key, one curve per k."""

import io
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from ..common.writing import replacement
from .report import Results


COLORS = ("#1f6fb4", "#d1495b", "#2a9d5c", "#6a4c93", "#c77700", "#333333")
INK = "#333333"
MOST_PANELS = 5  # in a row; with more combinations of the other keys, their mean is drawn in one panel

Slice = tuple[str, list[list[int]]]  # a title, and for each value on the axis the points that it shows


def draw(results: Results, path: Path) -> None:
    """
    Draw one row of panels per key: its values on the axis, and a panel for each combination of the other keys.

    Args:
        results (`Results`):
            The results, with at least one estimate.
        path (`Path`):
            The file, which is replaced.
    """
    from matplotlib.figure import Figure

    grid = results.settings.grid
    keys = [key for key in grid if len(grid[key]) > 1] or list(grid)[:1]
    rows = {key: list(_slices(results, key)) for key in keys}
    columns = max(map(len, rows.values()))
    figure = Figure(figsize=(1.6 + 2.9 * max(columns, 2), 1.0 + 2.7 * len(keys)), dpi=120, layout="constrained")
    axes = figure.subplots(len(keys), columns, squeeze=False, sharey=True)
    for row, (key, slices) in zip(axes, rows.items(), strict=True):
        for axis in row[len(slices) :]:
            axis.set_axis_off()
        for axis, each in zip(row, slices, strict=False):
            _draw_panel(axis, results, key, each)
        row[0].set_ylabel("pass@k")
        row[0].tick_params(labelleft=True)
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), fontsize=8, frameon=False)
    image = io.BytesIO()
    figure.savefig(image, format="png", metadata={"Software": None})
    with replacement(path) as file:
        file.write(image.getbuffer())


def _slices(results: Results, key: str) -> Iterator[Slice]:
    """Yield the panels of a key."""
    grid, points = results.settings.grid, results.points
    short = dict(zip(grid, points[0].named, strict=True))
    others = [other for other in grid if other != key and len(grid[other]) > 1]
    combinations = list(product(*(grid[other] for other in others)))

    def at(value: str, fixed: dict[str, str]) -> list[int]:
        wanted = {key: value, **fixed}
        return [n for n, point in enumerate(points) if all(point.values[name] == wanted[name] for name in wanted)]

    if len(combinations) > MOST_PANELS:
        title = f"mean over {' and '.join(short[other] for other in others)}"
        yield title, [at(value, {}) for value in grid[key]]
        return
    for combination in combinations:
        fixed = dict(zip(others, combination, strict=True))
        title = ", ".join(f"{short[other]} {value}" for other, value in fixed.items())
        yield title, [at(value, fixed) for value in grid[key]]


def _draw_panel(axis: Any, results: Results, key: str, panel: Slice) -> None:
    """Draw a curve per k with its intervals, and a star where the best point for that k is."""
    title, numbers = panel
    values, ks = results.settings.grid[key], results.settings.k
    places = _places(values)
    for column, k in enumerate(ks):
        color = COLORS[column % len(COLORS)]
        shown = [
            (place, [results.estimates[n] for n in own])
            for place, own in zip(places, numbers, strict=True)
            if all(n in results.estimates for n in own)  # a mean over a part would stand for another set
        ]
        means = [np.mean([each.means[column] for each in own]) for _, own in shown]
        at = [place for place, _ in shown]
        axis.plot(at, means, color=color, linewidth=1.4, marker="o", markersize=4, label=f"pass@{k}")
        if all(len(own) == 1 for own in numbers):
            ends = [own[0].interval(column) for _, own in shown]
            axis.vlines(at, [each.low for each in ends], [each.high for each in ends], color=color, alpha=0.5)
            best = results.best[k]
            stars = [(place, own[0].means[column]) for place, own in shown if own[0] is results.estimates[best.point]]
            for star in stars:
                axis.plot(*star, color=color, **_star(12, best.is_alone))
    for is_alone, label in ((True, "best for its k"), (False, "best for its k, but tied with the second best")):
        axis.plot([], [], color=INK, label=label, **_star(10, is_alone))
    axis.set_title(title, fontsize=9)
    axis.set_xlabel(key)
    axis.set_xticks(places, values)
    margin = 0.07 * (max(places) - min(places) or 1.0)
    axis.set_xlim(min(places) - margin, max(places) + margin)
    axis.grid(alpha=0.25, linewidth=0.6)
    axis.spines[["top", "right"]].set_visible(False)


def _star(size: int, is_full: bool) -> dict[str, Any]:
    """Return the look of a star."""
    return {"marker": "*", "markersize": size, "linestyle": "", "markerfacecolor": None if is_full else "white"}


def _places(values: list[str]) -> list[float]:
    """Return where the values stand on the axis: at their numbers, or evenly if one is no number."""
    try:
        numbers = [float(value) for value in values]
    except ValueError:
        return [float(place) for place in range(len(values))]
    return numbers if all(map(np.isfinite, numbers)) else [float(place) for place in range(len(values))]
