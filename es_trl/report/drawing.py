"""Parts of charts: series over the rollouts, marks of events, and the values under the pointer.

The colors are told apart by people with any color vision and on light and dark pages; dashes tell lines apart, too.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any


try:
    import altair as alt
except ImportError:
    raise ImportError("altair is not installed, but the report needs it: run pip install 'es-trl[plots]'") from None

BLUE, RED, GREEN, PURPLE, ORANGE = "#2b83c6", "#d55e00", "#009e73", "#a569bd", "#c98a00"
SKY, YELLOW, GREY = "#56b4e9", "#d4b106", "#8a8f98"
COLORS = (BLUE, RED, GREEN, PURPLE, ORANGE, SKY, YELLOW, GREY)
DASHES = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3])
MOST_POINTS = 1_000  # of a series in a chart
MOST_MARKS = 200  # of events in a chart
KINDS = {"hand-over": ("triangle-up", PURPLE), "alarm": ("diamond", RED), "switch": ("square", GREY)}
_LONG_TEXT = 300  # characters of a message at the pointer

LINE_LEGEND = alt.Legend(symbolType="stroke", symbolOpacity=1, symbolStrokeWidth=2.5)
Rows = list[dict[str, Any]]
Layers = list[alt.Chart | alt.LayerChart]


@dataclass(frozen=True)
class Line:
    """A line of a chart: the field of its values, its name, and its look."""

    field: str
    name: str
    color: str
    dash: Sequence[int] = (1, 0)
    width: float = 1.6
    opacity: float = 1.0
    steps: bool = False


@dataclass(frozen=True)
class Panel:
    """A chart of a page, with the words above it."""

    key: str
    title: str
    caption: str
    spec: dict[str, Any] = field(repr=False)


def thinned(rows: Rows, most: int = MOST_POINTS) -> Rows:
    """Return every k-th row with the least k that leaves at most about `most` rows, and the last one."""
    step = -(-len(rows) // most)
    return rows if step <= 1 else [*rows[:-1:step], rows[-1]]


def rows_of(records: Iterable[dict[str, Any]], *names: str) -> Rows:
    """Return the rollout and these fields of every record, with five digits, which is more than a chart shows."""
    return [{name: _short(record.get(name)) for name in ("rollout", *names)} for record in records]


def _short(value: Any) -> Any:
    return float(f"{value:.5g}") if isinstance(value, float) else value


def rollout_axis(first: int, last: int) -> alt.X:
    """Return the axis of the rollouts, which all charts of a page share."""
    ends = [first, last] if last > first else [first - 0.5, last + 0.5]
    ticks = {"tickMinStep": 1} if last > first else {"values": [first]}
    axis = alt.Axis(format="d", grid=False, **ticks)
    return alt.X("rollout:Q", title="rollout", scale=alt.Scale(domain=ends, nice=False), axis=axis)


def lines(rows: Rows, drawn: Sequence[Line], x: alt.X, scale: alt.Scale) -> Layers:
    """Return a layer per line. The data is that of the whole chart; a line has a gap where its value is missing."""
    names = [line.name for line in drawn]
    legend = LINE_LEGEND if len(drawn) > 1 else None
    colors, dashes = [line.color for line in drawn], [list(line.dash) for line in drawn]
    color = alt.Color("line:N", title=None, scale=alt.Scale(domain=names, range=colors), legend=legend)
    dash = alt.StrokeDash("line:N", title=None, scale=alt.Scale(domain=names, range=dashes), legend=legend)
    layers = [layer for line in drawn for layer in _line(rows, line, (x, scale), (color, dash))]
    return [alt.layer(*layers)]  # one legend for all


def _line(rows: Rows, line: Line, axes: tuple[alt.X, alt.Scale], looks: tuple[alt.Color, alt.StrokeDash]) -> Layers:
    (x, scale), (color, dash) = axes, looks
    chart = alt.Chart().transform_calculate(line=json.dumps(line.name))
    step = "step-after" if line.steps else "linear"
    mark = chart.mark_line(strokeWidth=line.width, opacity=line.opacity, interpolate=step, clip=True)
    y = alt.Y(line.field, type="quantitative", scale=scale, title=None)
    drawn = [mark.encode(x=x, y=y, color=color, strokeDash=dash)]
    known = [False, *(row.get(line.field) is not None for row in rows), False] if rows else []
    alone = [
        row["rollout"] for row, around in zip(rows, _neighbors(known), strict=True) if around == (False, True, False)
    ]
    if alone:  # a line through one point is not seen
        points = chart.mark_point(filled=True, size=24, opacity=line.opacity)
        points = points.transform_filter(alt.FieldOneOfPredicate(field="rollout", oneOf=alone))
        drawn.append(points.encode(x=x, y=y, color=color))
    return drawn


def _neighbors(known: list[bool]) -> list[tuple[bool, ...]]:
    return list(zip(known, known[1:], known[2:], strict=False))


def pointer(x: alt.X, shown: dict[str, str]) -> alt.Chart:
    """Return the layer that shows, at the rollout nearest to the pointer, the fields `shown` by their titles."""
    near = alt.selection_point(name="near", fields=["rollout"], nearest=True, on="pointerover", empty=False)
    tips = [alt.Tooltip(f"{name}:Q", title=title, format=".4~g") for name, title in shown.items()]
    opacity = alt.when(near).then(alt.value(0.6)).otherwise(alt.value(0.0))
    rule = alt.Chart().mark_rule(color=GREY).encode(x=x, opacity=opacity, tooltip=tips)
    return rule.add_params(near)


def shade(onset: int | None, last: int, x: alt.X) -> Layers:
    """Return the layer that shades the anneal phase, if there is one."""
    if onset is None:
        return []
    data = alt.Data(values=[{"rollout": onset, "end": last}])
    return [alt.Chart(data).mark_rect(color=YELLOW, opacity=0.14).encode(x=x, x2="end:Q")]


def marks(events: Sequence[tuple[int, str, str]], x: alt.X, has_legend: bool = True) -> Layers:
    """Return the layers that mark events: a line each, and a symbol by its kind with the message at the pointer."""
    values = [
        {"rollout": at, "kind": kind.replace("_", "-"), "message": clean(text)[:_LONG_TEXT]}
        for at, kind, text in events
    ]
    if not values:
        return []
    kinds = list(dict.fromkeys(row["kind"] for row in values))
    shapes, colors = zip(*(KINDS.get(kind, ("circle", GREEN)) for kind in kinds), strict=True)
    legend = alt.Legend(title="events:", titleOrient="left", orient="bottom", symbolSize=70, symbolOpacity=1)
    shown = legend if has_legend else None
    color = alt.Color("kind:N", scale=alt.Scale(domain=kinds, range=colors), legend=shown)
    shape = alt.Shape("kind:N", scale=alt.Scale(domain=kinds, range=shapes), legend=shown)
    tips = [alt.Tooltip("rollout:Q"), alt.Tooltip("kind:N"), alt.Tooltip("message:N")]
    chart = alt.Chart(alt.Data(values=values[:MOST_MARKS]))
    rules = chart.mark_rule(strokeDash=[2, 3], opacity=0.5).encode(x=x, color=color)
    symbols = chart.mark_point(filled=True, size=70, opacity=1.0)
    return [alt.layer(rules, symbols.encode(x=x, y=alt.value(6), color=color, shape=shape, tooltip=tips))]


def chart(rows: Rows, layers: Layers, height: int = 180) -> dict[str, Any]:
    """Return a chart of layers over common data, as wide as its place, as a Vega-Lite specification."""
    layered = alt.layer(*layers, data=alt.Data(name="rows")).properties(width="container", height=height)
    spec = layered.resolve_scale(color="independent", shape="independent", strokeDash="independent").to_dict(
        validate=False  # which takes as long as all the rest; a test validates the charts
    )
    del spec["$schema"], spec["config"]  # the page has one look for all charts
    return {**spec, "data": {"values": rows}}  # altair would check every value


def clean(text: str) -> str:
    """Return a text that HTML and UTF-8 can hold: control characters and halves of surrogate pairs are replaced."""
    return "".join("\ufffd" if _is_foreign(ord(each)) else each for each in text)


def _is_foreign(code: int) -> bool:
    return (
        (code < 32 and code not in (9, 10, 13))
        or 127 <= code < 160
        or 0xD800 <= code < 0xE000
        or code in (0xFFFE, 0xFFFF)
    )
