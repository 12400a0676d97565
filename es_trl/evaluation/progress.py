"""How far a sampling is, and the time left: a bar on a terminal, a line now and then elsewhere."""

import contextlib
import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from ..common.shown import duration


SECONDS_PER_LINE = 30


class _Rate(ProgressColumn):
    """Completions per second."""

    def render(self, task: Task) -> Text:
        """Return the rate as text."""
        return Text(f"{task.speed:,.0f} per second" if task.speed else "")


@contextlib.contextmanager
def progress(total: int, done: int, console: Console | None = None) -> Iterator[Callable[[int], None]]:
    """
    Show how many completions there are, and yield a function that takes how many more there are.

    Args:
        total (`int`), done (`int`):
            Completions of the whole evaluation, and those of earlier starts.
        console (`Console`, *optional*):
            Where to; standard error by default.
    """
    console = Console(stderr=True) if console is None else console
    if not console.is_terminal:
        yield _lines(total, done, console)
        return
    columns = (BarColumn(), TextColumn("{task.completed:,.0f} of {task.total:,.0f} completions"), _Rate())
    # a unit may take minutes, and the rate is that of several units
    with Progress(*columns, TimeRemainingColumn(), console=console, speed_estimate_period=1800) as bar:
        # earlier completions have taken no time here, so that they must not count for the rate
        task = bar.add_task("", total=total, completed=done)
        yield lambda more: bar.advance(task, more)


def _lines(total: int, done: int, console: Console) -> Callable[[int], None]:
    began = said = time.monotonic()
    now_done = done

    def advance(more: int) -> None:
        nonlocal now_done, said
        now_done += more
        now = time.monotonic()
        if now - said < SECONDS_PER_LINE and now_done < total:
            return
        said = now
        rate = (now_done - done) / max(now - began, 1e-9)
        left = (total - now_done) / max(rate, 1e-9)
        share = f"{now_done:,} of {total:,} completions ({100 * now_done / total:.0f} %)"
        console.out(f"{share}, {rate:,.0f} per second, {duration(left)} left", highlight=False)

    if done:
        console.out(f"{done:,} of {total:,} completions are there from an earlier start", highlight=False)
    return advance
