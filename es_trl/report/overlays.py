"""The charts of several runs on top of each other, with one color per run, and the tables that compare them."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import altair as alt

from ..common.shown import duration
from ..tracking.outcome import WINDOW
from ..tracking.plots import smooth
from .drawing import COLORS, DASHES, LINE_LEGEND, Panel, Rows, chart, rollout_axis, rows_of, thinned
from .panels import pass_chart
from .run import Run


_MOST_POINTS = 3_000  # of all runs in a chart


def with_names(runs: Sequence[Run], folders: Sequence[str | Path]) -> list[Run]:
    """Return the runs with names that tell them apart: those of their folders, with as many parents as needed."""
    parts = [Path(folder).absolute().parts for folder in folders]
    for count in range(1, max(map(len, parts)) + 1):
        names = ["/".join(each[-count:]) for each in parts]
        if len(set(names)) == len(names):
            return [replace(run, name=name) for run, name in zip(runs, names, strict=True)]
    return [replace(run, name=f"{run.name} ({number})") for number, run in enumerate(runs, start=1)]


def overlays(runs: Sequence[Run]) -> tuple[list[Panel], int]:
    """Return the charts of several runs, and how many points each line has at most."""
    most = max(100, _MOST_POINTS // len(runs))
    panels = [
        _overlay(runs, most, "entropy", "Entropy", "Nats per token. Dashed: the target of each run.", "target"),
        _overlay(runs, most, "reward", "Reward", f"Mean over the last {WINDOW} rollouts."),
        _overlay(runs, most, "completion_tokens", "Completion length", "Mean length of a completion, tokens."),
        _overlay(runs, most, *_control_field(runs)),
        _passes(runs),
    ]
    return [panel for panel in panels if panel is not None], most


def _control_field(runs: Sequence[Run]) -> tuple[str, str, str]:
    """Return the field of the control that is comparable, with title and caption."""
    settings = {name for run in runs for record in run.records for name in record["settings"] or {}}
    if len(settings) <= 1:
        return "control", "Control", f"Setting: {', '.join(settings)}."
    return "control_share", "Control", "Each control within the bounds of its actuator, from 0 to 1: units differ."


def _values(run: Run, *names: str) -> Rows:
    rows = rows_of(run.records, *names)
    for row, record in zip(rows, run.records, strict=True):
        if "control_share" in names:
            row["control_share"] = _share(run, record)
    if "reward" in names:
        rows = [row for row in rows if row["reward"] is not None]
        means = smooth([row["reward"] for row in rows], WINDOW)
        rows = [{**row, "reward": round(value, 5)} for row, value in zip(rows, means, strict=True)]
    return rows


def _share(run: Run, record: dict[str, Any]) -> float | None:
    bounds = run.bounds.get(record["actuator"] or "")
    if bounds is None or record["control"] is None or bounds[0] == bounds[1]:
        return None
    return round((record["control"] - bounds[0]) / (bounds[1] - bounds[0]), 5)


def _overlay(
    runs: Sequence[Run], most: int, name: str, title: str, caption: str, dashed: str | None = None
) -> Panel | None:
    """Return the chart of a field of all runs, with a dashed line for another field."""
    names = [name] if dashed is None else [name, dashed]
    rows = [{"run": run.name, **row} for run in runs for row in thinned(_values(run, *names), most)]
    if all(row[each] is None for row in rows for each in names):
        return None
    ends = [run.records[0]["rollout"] for run in runs], [run.records[-1]["rollout"] for run in runs]
    x, y = rollout_axis(min(ends[0]), max(ends[1])), alt.Y(f"{name}:Q", title=None)
    color, dash = _look(runs)
    line = alt.Chart().mark_line(strokeWidth=1.6, strokeCap="round")
    layers = [line.encode(x=x, y=y, color=color, strokeDash=dash)]
    if dashed is not None:
        target = alt.Chart().mark_line(strokeWidth=1.4, strokeDash=[5, 3], opacity=0.75)
        layers.append(target.encode(x=x, y=alt.Y(f"{dashed}:Q", title=None), color=color))
    near = alt.selection_point(name="near", fields=["rollout", "run"], nearest=True, on="pointerover", empty=False)
    tips = [
        alt.Tooltip("run:N"),
        alt.Tooltip("rollout:Q"),
        *(alt.Tooltip(f"{each}:Q", format=".4~g") for each in names),
    ]
    opacity = alt.when(near).then(alt.value(1.0)).otherwise(alt.value(0.0))
    points = alt.Chart().mark_point(filled=True, size=60).encode(x=x, y=y, color=color, opacity=opacity, tooltip=tips)
    return Panel(name, title, caption, chart(rows, [alt.layer(*layers, points.add_params(near))], height=220))


def _look(runs: Sequence[Run]) -> tuple[alt.Color, alt.StrokeDash]:
    names = [run.name for run in runs]
    colors = [COLORS[number % len(COLORS)] for number in range(len(runs))]
    dashes = [DASHES[number // len(COLORS) % len(DASHES)] for number in range(len(runs))]
    color = alt.Color("run:N", title=None, legend=LINE_LEGEND, scale=alt.Scale(domain=names, range=colors))
    dash = alt.StrokeDash("run:N", title=None, legend=LINE_LEGEND, scale=alt.Scale(domain=names, range=dashes))
    return color, dash


def _passes(runs: Sequence[Run]) -> Panel | None:
    named = {f"{run.name}, {name}": each for run in runs for name, each in run.evaluations.items()}
    return pass_chart(named, "") if named else None


def outcomes(runs: Sequence[Run]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return the header and the rows of the table of outcomes, with the measures of [`Outcome`]."""
    header = ("run", "rollouts", "entropy, nats", "error, stable", "error, anneal", "reward", "alarms", "time")
    rows = []
    for run in runs:
        found = run.outcome
        errors = [f"{found.errors[stage].rms:.3f}" if stage in found.errors else "-" for stage in ("stable", "anneal")]
        time = "-" if found.seconds is None else duration(found.seconds)
        rows.append(
            (run.name, str(found.rollouts), _ends(found.entropy), *errors, _ends(found.reward), str(found.alarms), time)
        )
    return header, rows


def _ends(ends: tuple[float, float] | None) -> str:
    return "-" if ends is None else f"{ends[0]:.3f} → {ends[1]:.3f}"


def differing_keys(runs: Sequence[Run]) -> list[tuple[str, ...]]:
    """Return the keys of the recipes that differ between the runs that have one, each with the value in every run."""
    recipes = [None if run.recipe is None else _flat(run.recipe) for run in runs]
    known = [recipe for recipe in recipes if recipe is not None]
    keys = dict.fromkeys(key for recipe in known for key in recipe if key != "output_dir")
    differing = [key for key in keys if len({str(recipe.get(key)) for recipe in known}) > 1]
    return [
        (key, *("no recipe" if recipe is None else str(recipe.get(key, "-")) for recipe in recipes))
        for key in differing
    ]


def _flat(recipe: dict[str, Any], above: str = "") -> dict[str, Any]:
    """Return a recipe with `block.key` for the keys within blocks."""
    flat: dict[str, Any] = {}
    for key, value in recipe.items():
        flat |= _flat(value, f"{above}{key}.") if isinstance(value, dict) and value else {f"{above}{key}": value}
    return flat
