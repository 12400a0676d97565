"""The charts of a run's control, one per actuator."""

from typing import Any

import altair as alt

from ..tracking.plots import control_axis
from .drawing import (
    GREY,
    PURPLE,
    RED,
    Line,
    Panel,
    Rows,
    chart,
    lines,
    marks,
    pointer,
    rollout_axis,
    rows_of,
    shade,
    thinned,
)
from .run import Run
from .words import plain


def control_panels(run: Run) -> list[Panel]:
    """Return a chart per actuator that moved, with its bounds and where it was at them."""
    acting = list(dict.fromkeys(record["actuator"] for record in run.records if record["actuator"] is not None))
    if not acting and run.has("control"):  # histories of one actuator may not name it
        acting = [next(iter(run.bounds), "")]
    panels = (_panel(run, name, is_only=len(acting) == 1) for name in acting)
    return [panel for panel in panels if panel is not None]


def _panel(run: Run, name: str, is_only: bool) -> Panel | None:
    rows = rows_of(run.records, "control", "saturated", "actuator")
    for row in rows:
        own = is_only or row["actuator"] == name
        row["control"] = row["control"] if own else None
        row["bound"] = row["control"] if own and row["saturated"] else None
        del row["saturated"], row["actuator"]
    if all(row["control"] is None for row in rows):
        return None
    words = [f"Setting: {', '.join(_settings(run))}." if is_only and _settings(run) else ""]
    words += [] if is_only else ["Drawn where this actuator has the control."]
    bounds = run.bounds.get(name)
    if bounds is not None:
        words.append(f"Bounds: {bounds[0]:.4g} and {bounds[1]:.4g}.")
    if any(row["bound"] is not None for row in rows):
        words.append("Red dots: the control is at a bound, so it can do no more.")
    title = f"Control: {plain(name)}" if name else "Control"
    key = "control" if is_only else f"control-{name}"
    return Panel(key, title, " ".join(word for word in words if word), _chart(run, rows, bounds))


def _settings(run: Run) -> list[str]:
    return sorted({name for record in run.records for name in record["settings"] or {}})


def _chart(run: Run, rows: Rows, bounds: list[float] | None) -> dict[str, Any]:
    first, last = rows[0]["rollout"], rows[-1]["rollout"]
    domain = control_axis([row["control"] for row in rows if row["control"] is not None], bounds or ())
    x, rows = rollout_axis(first, last), thinned(rows)
    scale = alt.Scale(domain=list(domain), nice=False)
    layers = shade(run.onset, last, x)
    for bound in bounds or ():
        if domain[0] <= bound <= domain[1]:
            layers.append(alt.Chart().mark_rule(color=GREY, strokeDash=[6, 4]).encode(y=alt.YDatum(bound, scale=scale)))
    layers += lines(rows, [Line("control", "control", PURPLE)], x, scale)
    dots = alt.Chart().mark_point(filled=True, size=26, color=RED, opacity=1.0)
    layers.append(dots.encode(x=x, y=alt.Y("bound:Q", scale=scale, title=None)))
    shown = pointer(x, {"rollout": "rollout", "control": "control"})
    told = [event for event in run.events if event[1] == "hand_over"]
    return chart(rows, [*layers, shown, *marks(told, x, has_legend=False)])
