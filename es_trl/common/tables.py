"""Tables as plain text."""

from rich.console import Console
from rich.table import Table


def as_text(table: Table, width: int = 120) -> str:
    """Return a table as lines of at most `width` characters without colours and trailing blanks."""
    console = Console(width=width, color_system=None, legacy_windows=False)
    with console.capture() as capture:
        console.print(table)
    return "\n".join(line.rstrip() for line in capture.get().splitlines())
