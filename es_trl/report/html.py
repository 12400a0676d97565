"""Text, tables and lists as HTML. Everything that comes from a run is escaped."""

import html
from collections.abc import Iterable, Sequence

from ..hub.secrets import hide_tokens
from .drawing import clean


def text(value: object) -> str:
    """Return a value as text that HTML shows as it is, with tokens of the Hub hidden."""
    return html.escape(hide_tokens(clean(str(value))))


def paragraph(value: object, kind: str = "") -> str:
    """Return a paragraph, with the class `kind` if it has one."""
    return f'<p class="{kind}">{text(value)}</p>' if kind else f"<p>{text(value)}</p>"


def heading(title: object) -> str:
    """Return the heading of a page."""
    return f"<h1>{text(title)}</h1>"


def section(title: str, *parts: str, key: str = "") -> str:
    """Return a section with a heading; `key` is its address in the page."""
    inner = "\n".join(part for part in parts if part)
    return f"<section{_id(key)}>\n<h2>{text(title)}</h2>\n{inner}\n</section>" if inner else ""


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table in a box that scrolls by itself where it is too wide."""
    head = "".join(f"<th>{text(name)}</th>" for name in header)
    body = "\n".join("<tr>" + "".join(f"<td>{text(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="box"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>'


def plain_block(content: str) -> str:
    """Return text with its own line ends in a box that scrolls by itself."""
    return f'<pre class="box">{text(content)}</pre>'


def folded(title: str, content: str) -> str:
    """Return content that opens where its title is clicked."""
    return f"<details><summary>{text(title)}</summary>\n{content}\n</details>"


def boxes(found: Iterable[tuple[str, str, str]]) -> str:
    """Return numbers in boxes: the name, the value and its meaning of each."""
    tiles = (
        f'<div class="tile"><div class="name">{text(name)}</div><div class="value">{text(value)}</div>'
        f'<div class="about">{text(about)}</div></div>'
        for name, value, about in found
    )
    return f'<div class="tiles">{"".join(tiles)}</div>'


def _id(key: str) -> str:
    return f' id="{text(key)}"' if key else ""
