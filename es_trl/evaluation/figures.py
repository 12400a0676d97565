"""pass@k over k, of one evaluation or of several."""

import io
from collections.abc import Mapping
from pathlib import Path

from ..common.writing import atomic_replacement
from ..estimates.intervals import LEVEL
from ..estimates.result import Evaluation
from ..tracking.plots import CONTROL, LENGTH, MEASURED, REWARD, TARGET


FIGURE_FILE = "passk.png"
_COLORS = (MEASURED, TARGET, REWARD, CONTROL, LENGTH)


def draw(evaluations: Mapping[str, Evaluation], path: Path) -> Path:
    """
    Draw pass@k over k with its interval.

    Args:
        evaluations (mapping of `str` to `Evaluation`):
            Evaluations by their labels. One alone is drawn with pass^k, too.
        path (`Path`):
            The figure.

    Returns:
        `Path`: the figure.

    Raises:
        ImportError: if matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError(
            "matplotlib is not installed, but the figure needs it: run pip install 'es-trl[plots]'"
        ) from None
    data = {(found.data, found.problems) for found in evaluations.values()}
    figure = Figure(figsize=(7.0, 4.5), dpi=120, layout="constrained")
    axis = figure.subplots()
    for place, (label, found) in enumerate(evaluations.items()):
        color = _COLORS[place % len(_COLORS)]
        own = label if len(data) == 1 else f"{label}, {found.data}"
        curves = {own if len(evaluations) > 1 else "pass@k": (found.pass_at_k, "-")}
        if len(evaluations) == 1:
            curves["pass^k"] = (found.pass_hat_k, "--")
        for name, (curve, style) in curves.items():
            ks, values = list(curve), list(curve.values())
            axis.plot(ks, [v.value for v in values], style, color=color, marker=".", linewidth=1.4, label=name)
            band = ([v.low for v in values], [v.high for v in values])
            axis.fill_between(ks, *band, color=color, alpha=0.15, linewidth=0)
    ks = sorted({k for found in evaluations.values() for k in found.pass_at_k})
    axis.set_xscale("log", base=2)
    axis.set_xticks(ks, [str(k) for k in ks], fontsize=8)
    axis.minorticks_off()
    axis.set_xlabel("k, completions per problem")
    axis.set_ylabel("share of problems" if len(evaluations) == 1 else "pass@k")
    axis.fill_between([], [], color="#888888", alpha=0.3, label=f"{100 * LEVEL:.0f} % interval over problems")
    for name, problems in data if len(data) == 1 else ():
        axis.set_title(f"{name}, {problems} problems", fontsize=9)
    axis.grid(alpha=0.25, linewidth=0.6)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(loc="best", fontsize=8, frameon=False)
    image = io.BytesIO()
    figure.savefig(image, format="png", metadata={"Software": None})
    with atomic_replacement(path) as file:
        file.write(image.getbuffer())
    return path
