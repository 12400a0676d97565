"""Tables of the reference, built from plain text with the marks of Markdown."""

import re
from collections.abc import Sequence

from docutils import nodes
from hf_rst import PUBLIC
from sphinx import addnodes
from sphinx.environment import BuildEnvironment


# a link to a name, code, a link to an address
_MARKS = re.compile(r"\[`~?([\w.]+)`\]|`+([^`]+)`+|\[([^\]]+)\]\((https?://[^)\s]+)\)")


def inline(text: str) -> list[nodes.Node]:
    """Return text with the code and the links that its marks name."""
    found: list[nodes.Node] = []
    end = 0
    for match in _MARKS.finditer(text):
        found.append(nodes.Text(text[end : match.start()]))
        name, code, words, address = match.groups()
        if address:
            found.append(nodes.reference(words, words, refuri=address))
        elif name in PUBLIC:
            found.append(name_link(name, PUBLIC[name]))
        else:
            found.append(nodes.literal(name or code, name or code))
        end = match.end()
    return [*found, nodes.Text(text[end:])]


def name_link(shown: str, target: str) -> addnodes.pending_xref:
    """Return a link to a Python name of the reference."""
    link = addnodes.pending_xref("", refdomain="py", reftype="obj", reftarget=target, refexplicit=True, refwarn=True)
    link += nodes.literal(shown, shown)
    return link


def table(head: Sequence[str], rows: Sequence[Sequence[list[nodes.Node]]], widths: Sequence[int]) -> nodes.table:
    """Return a table; each cell is a list of inline nodes."""
    columns = [nodes.colspec(colwidth=width) for width in widths]
    header = nodes.thead("", _row([[nodes.Text(word)] for word in head]))
    body = nodes.tbody("", *map(_row, rows))
    return nodes.table("", nodes.tgroup("", *columns, header, body, cols=len(head)), classes=["reference"])


def anchored(env: BuildEnvironment, name: str, prefix: str) -> list[nodes.Node]:
    """Return a name as code, to which `[](#PREFIX-NAME)` links from every page and the index leads."""
    place = f"{prefix}-{name}"
    env.domains.standard_domain.note_hyperlink_target(place, env.docname, place, name)
    entry = addnodes.index(entries=[("single", name, place, "", None)])
    return [entry, nodes.literal(name, name, ids=[place])]


def _row(cells: Sequence[list[nodes.Node]]) -> nodes.row:
    return nodes.row("", *(nodes.entry("", nodes.paragraph("", "", *cell)) for cell in cells))
