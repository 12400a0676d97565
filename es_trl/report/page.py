"""A page: its parts in one HTML file, with its own style, script and Vega, so that it needs no network."""

import functools
import json
from collections.abc import Sequence
from importlib import resources

from ..hub.secrets import hide_tokens
from .drawing import Panel
from .html import section, text


try:
    import vl_convert
except ImportError:
    raise ImportError(
        "vl-convert-python is not installed, but the report needs it: run pip install 'es-trl[plots]'"
    ) from None

_TEMPLATE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
<main>
{body}
</main>
{charts}<script>
{script}</script>
</body>
</html>
"""


def page(title: str, parts: Sequence[str], panels: Sequence[Panel]) -> str:
    """Return a page of HTML parts, whose charts are `panels`; tokens of the Hub are hidden in them, too."""
    specs = json.dumps({panel.key: panel.spec for panel in panels}, separators=(",", ":"), allow_nan=False)
    escaped = specs.replace("<", "\\u003c")  # no text of a run may end the script
    charts = f"<script>\n{vega()}\n</script>\n" if panels else ""
    charts += f'<script type="application/json" id="specs">{hide_tokens(escaped)}</script>\n' if panels else ""
    body = "\n".join(part for part in parts if part)
    return _TEMPLATE.format(
        title=text(title), style=_file("page.css"), body=body, charts=charts, script=_file("page.js")
    )


def charts_section(title: str, panels: Sequence[Panel]) -> str:
    """Return the places of the charts, each with its title and caption."""
    places = [
        f"<figure><h3>{text(panel.title)}</h3>\n<figcaption>{text(panel.caption)}</figcaption>\n"
        f'<div class="chart" data-chart="{text(panel.key)}" role="img" aria-label="{text(panel.title)}"></div></figure>'
        for panel in panels
    ]
    return section(title, *places)


@functools.cache
def vega() -> str:
    """Return the JavaScript of Vega, Vega-Lite and Vega-Embed, which takes two seconds to put together."""
    return vl_convert.javascript_bundle()


def _file(name: str) -> str:
    return (resources.files(__package__) / name).read_text(encoding="utf-8")
