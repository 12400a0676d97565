"""The charts of one run, one function each. A chart without data is left out."""

from collections.abc import Callable, Mapping
from typing import Any

import altair as alt

from ..estimates.result import Evaluation
from ..tracking.outcome import WINDOW
from ..tracking.plots import smooth
from .control_panels import control_panels
from .drawing import (
    BLUE,
    COLORS,
    DASHES,
    GREEN,
    GREY,
    LINE_LEGEND,
    ORANGE,
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


def panels_of(run: Run) -> list[Panel]:
    """Return the charts of a run, those that it has data for."""
    found = [entropy(run), *control_panels(run), *(make(run) for make in _OTHERS)]
    return [panel for panel in found if panel is not None]


def entropy(run: Run) -> Panel | None:
    """Return the chart of the target and the measured entropy."""
    if not run.has("entropy", "target"):
        return None
    rows = rows_of(run.records, "entropy", "target", "clamped_entropy", "entropy_se")
    for row in rows:
        if row["target"] is not None and row["entropy_se"] is not None:
            noise = 2 * row["entropy_se"]
            row |= {"low": round(row["target"] - noise, 5), "high": round(row["target"] + noise, 5)}
    drawn = [Line("entropy", "measured entropy", BLUE)]
    drawn += [Line("target", "target", RED, [5, 3])] if run.has("target") else []
    drawn += (
        [Line("clamped_entropy", "clamped entropy (controlled)", PURPLE, [2, 2])] if run.has("clamped_entropy") else []
    )
    words = ["Nats per token, mean over the tokens of a rollout."]
    if run.has("target"):
        words += ["Band: target ± 2 standard errors of one rollout, the noise that no controller can remove."]
    words += ["Shaded: the anneal phase."] if run.onset is not None else []
    words += ["Point at a symbol to read an event."] if _told(run) else []
    spec = _over_rollouts(run, rows, drawn, marks_events=True, height=240, bands=("low", "high"))
    title = "Does entropy follow its schedule?" if run.has("target") else "Entropy"
    return Panel("entropy", title, " ".join(words), spec)


def reward(run: Run) -> Panel | None:
    """Return the chart of the reward."""
    rows = rows_of(run.records, "reward")
    known = [row for row in rows if row["reward"] is not None]
    if not known:
        return None
    for row, value in zip(known, smooth([row["reward"] for row in known], WINDOW), strict=True):
        row["smooth"] = round(value, 5)
    drawn = [
        Line("reward", "each rollout", GREY, width=1.0, opacity=0.7),
        Line("smooth", f"mean of the last {WINDOW} rollouts", GREEN, width=2.4),
    ]
    caption = "Mean reward over all completions of a rollout."
    return Panel("reward", "Reward", caption, _over_rollouts(run, rows, drawn, zero=False))


def lengths(run: Run) -> Panel | None:
    """Return the chart of the completion lengths."""
    if not run.has("completion_tokens"):
        return None
    rows = rows_of(run.records, "completion_tokens", "max_completion_length")
    drawn = [Line("completion_tokens", "mean length", ORANGE)]
    if run.has("max_completion_length"):
        drawn.append(Line("max_completion_length", "longest allowed", GREY, [5, 3], steps=True))
    return Panel("lengths", "Completion length", "Tokens.", _over_rollouts(run, rows, drawn))


def truncated(run: Run) -> Panel | None:
    """Return the chart of the completions that were cut at their limit."""
    caption = "Share of the completions of a rollout that were cut at the longest allowed length, and so have no end."
    line = Line("truncated_completions", "cut completions", ORANGE)
    return _share(run, line, "truncated", "Truncated completions", caption)


def clip(run: Run) -> Panel | None:
    """Return the chart of the clipped tokens."""
    caption = "Share of the tokens whose update the upper clip (epsilon_high) stopped, mean over a rollout."
    return _share(run, Line("clip_high_fraction", "clipped tokens", PURPLE), "clip", "Clipped tokens", caption)


def _share(run: Run, line: Line, key: str, title: str, caption: str) -> Panel | None:
    if not run.has(line.field):
        return None
    return Panel(key, title, caption, _over_rollouts(run, rows_of(run.records, line.field), [line], height=120))


def stages(run: Run) -> Panel | None:
    """Return the chart of the sizes, if they changed within the run."""
    names = {"num_generations": "completions per prompt", "max_completion_length": "longest completion, tokens"}
    changing = [name for name in names if len({record[name] for record in run.records}) > 1]
    if not changing:
        return None
    rows = rows_of(run.records, *changing)
    drawn = [Line(name, names[name], color, dash, steps=True)
             for name, color, dash in zip(changing, (BLUE, ORANGE), DASHES, strict=False)]  # fmt: skip
    return Panel("stages", "Stages", "Sizes that changed within the run.", _over_rollouts(run, rows, drawn, height=120))


def pass_over_rollouts(run: Run) -> Panel | None:
    """Return the chart of pass@k during training."""
    rows = [
        {"rollout": at, "k": curve.name, "value": round(value, 5)} for curve in run.curves for at, value in curve.points
    ]
    if not rows:
        return None
    x = rollout_axis(run.records[0]["rollout"], run.records[-1]["rollout"])
    caption = "Share of the problems of the evaluation data that at least one of k completions solves."
    spec = chart(rows, [_named(rows, "k", x, ".0%")], height=160)
    return Panel("pass_over_rollouts", "pass@k while it trained", caption, spec)


def pass_over_k(run: Run) -> Panel | None:
    """Return the chart of pass@k over k."""
    about = " ".join(f"{name}: {each.about}." for name, each in run.evaluations.items())
    return pass_chart(run.evaluations, about) if run.evaluations else None


def pass_chart(evaluations: Mapping[str, Evaluation], about: str) -> Panel:
    """Return the chart of pass@k over k of evaluations with their names."""
    rows = [
        {"name": name, "k": k, **vars(interval)}
        for name, each in evaluations.items()
        for k, interval in sorted(each.pass_at_k.items())
    ]
    ticks = sorted({row["k"] for row in rows})
    x = alt.X("k:Q", title="k, completions per problem", scale=alt.Scale(type="log", base=2, nice=False),
              axis=alt.Axis(values=ticks, format="d", grid=False))  # fmt: skip
    color = alt.Color(
        "name:N",
        title=None,
        legend=LINE_LEGEND,
        scale=alt.Scale(domain=list(evaluations), range=list(COLORS)),
    )
    band = alt.Chart().mark_area(opacity=0.15).encode(x=x, y="low:Q", y2="high:Q", color=color)
    caption = f"Share of the problems that at least one of k completions solves. Band: 95 % interval. {about}"
    return Panel(
        "pass_over_k", "pass@k", caption, chart(rows, [alt.layer(band, _named(rows, "name", x, ".1%"))], height=240)
    )


def _named(rows: Rows, name: str, x: alt.X, form: str) -> alt.Chart:
    names = list(dict.fromkeys(row[name] for row in rows))
    color = alt.Color(f"{name}:N", title=None, legend=LINE_LEGEND, scale=alt.Scale(domain=names, range=list(COLORS)))
    tips = [f"{name}:N", x.shorthand, alt.Tooltip("value:Q", format=form)]
    y = alt.Y("value:Q", title=None, axis=alt.Axis(format=".0%"))
    return alt.Chart().mark_line(point={"size": 40}).encode(x=x, y=y, color=color, tooltip=tips)


def _told(run: Run) -> list[tuple[int, str, str]]:
    return [event for event in run.events if event[1] != "push"]  # pushes do not affect entropy


def _over_rollouts(
    run: Run,
    rows: Rows,
    drawn: list[Line],
    height: int = 180,
    zero: bool = True,
    marks_events: bool = False,
    bands: tuple[str, str] | None = None,
) -> dict[str, Any]:
    """Return the chart of lines over the rollouts."""
    first, last = rows[0]["rollout"], rows[-1]["rollout"]
    x, rows = rollout_axis(first, last), thinned(rows)
    is_flat = zero and not any(row.get(line.field) for row in rows for line in drawn)
    # Vega would draw zeros in the middle of an axis without other numbers
    scale = alt.Scale(domain=[0, 1]) if is_flat else alt.Scale(zero=zero, nice=True)
    layers = shade(run.onset, last, x)
    if bands is not None and any(row.get(bands[0]) is not None for row in rows):
        band = alt.Chart().mark_area(color=RED, opacity=0.2, clip=True)
        layers.append(band.encode(x=x, y=alt.Y(f"{bands[0]}:Q", title=None), y2=f"{bands[1]}:Q"))
    layers += [
        *lines(rows, drawn, x, scale),
        pointer(x, {"rollout": "rollout"} | {line.field: line.name for line in drawn}),
    ]
    return chart(rows, [*layers, *(marks(_told(run), x) if marks_events else [])], height)


_OTHERS: tuple[Callable[[Run], Panel | None], ...] = (
    *(reward, pass_over_rollouts, pass_over_k),
    *(lengths, truncated, clip, stages),
)
