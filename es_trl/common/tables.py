"""Tables as plain text."""

import io
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table


def as_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table as text without colour or lines: the first column is left-aligned, the others right-aligned."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for index, name in enumerate(header):
        table.add_column(name, justify="right" if index else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return as_text(table)


def as_text(table: Table) -> str:
    """Return a table as lines without colour or trailing blanks. A cell is never cut, however long."""
    text = io.StringIO()
    console = Console(file=text, width=10_000, color_system=None, force_jupyter=False, markup=False, highlight=False)
    console.print(table)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines())
