"""The lines of a run: one per logging interval, one per event and one per evaluation, of at most 100 characters."""

import math
import os
import sys
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rich.console import Console as RichConsole
from rich.progress import BarColumn, Progress, TextColumn

from ..common.shown import clock, wrapped


HEADER_EVERY = 20  # lines
LATEST = 10  # rollouts whose mean time gives the time left
LOGGED_ELSEWHERE = {"push"}  # events with log lines of their own


@dataclass(frozen=True)
class Extent:
    """
    The size of a run, from which its console lines follow.

    Args:
        rollouts (`int`):
            Rollouts in the run.
        updates (`int`):
            Updates in the run.
        every (`float`):
            Updates from one line to the next; infinity for the first and the last rollout alone.
        controlled (`bool`):
            Whether the entropy is held to a target.
        staged (`bool`):
            Whether the run has a curriculum.
    """

    rollouts: int
    updates: int
    every: float
    controlled: bool
    staged: bool


class _Terminal(RichConsole):
    """Standard output, whose reader may go before the run ends, as `head` does."""

    def on_broken_pipe(self) -> None:
        """Let the run go on without its lines."""
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class Console:
    """
    The lines of a run on standard output, with a progress bar behind them on a terminal.

    In a file there is no bar, no colour and no carriage return. Processes other than the main one say nothing.

    Args:
        writes (`bool`):
            Whether this process writes.
        has_bar (`bool`):
            Whether a terminal gets the bar.
    """

    def __init__(self, writes: bool, has_bar: bool) -> None:
        self._writes, self._has_bar = writes, has_bar
        self._terminal = _Terminal(color_system=None, force_jupyter=False, highlight=False, markup=False, emoji=False)
        self._progress: Progress | None = None
        self._task: Any = None
        self._ends: deque[float] = deque(maxlen=LATEST + 1)  # times at which rollouts ended, first that of the begin
        self._lines = 0
        self._unsaid: dict[str, tuple[int, str]] = {}  # cells of the latest rollout, if it was not its turn
        self._next_line = 0.0  # update
        self._said = (-1, 0)  # the rollout of the latest events, and their number

    def say(self, text: str) -> None:
        """Print a text, if this process writes."""
        if self._writes:
            self._terminal.print(text, soft_wrap=True)

    def begin(self, extent: Extent, update: int) -> None:
        """Begin the lines of a run that is at `update`."""
        self._lines, self._unsaid, self._next_line, self._said = 0, {}, 0.0, (-1, 0)
        self._ends.clear()
        self._ends.append(time.monotonic())
        if self._writes and self._has_bar and self._terminal.is_terminal:
            columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:.0f} %"))
            self._progress = Progress(*columns, console=self._terminal, transient=True, refresh_per_second=2)
            self._progress.start()
            self._task = self._progress.add_task("rollout 0", total=extent.updates, completed=update)

    def update(self, update: int) -> None:
        """Move the bar to an update that has ended."""
        if self._progress is not None:
            self._progress.update(self._task, completed=update)

    def rollout(self, record: Mapping[str, Any], update: int, extent: Extent) -> None:
        """Say the record of a rollout that ends with `update`, if it is its turn; that of the last one in the end."""
        index = record["rollout"]
        self._ends.append(time.monotonic())
        if self._progress is not None:
            self._progress.update(self._task, description=f"rollout {index + 1}")
        pace = (self._ends[-1] - self._ends[0]) / (len(self._ends) - 1)
        self._unsaid = _cells(record, extent, clock(pace * (extent.rollouts - 1 - index)))
        if update >= self._next_line:
            self._next_line = update + extent.every
            self._say_rollout()

    def _say_rollout(self) -> None:
        cells, self._unsaid = self._unsaid, {}
        if self._lines % HEADER_EVERY == 0:
            self.say("  ".join(name.rjust(width) for name, (width, _) in cells.items()))
        self._lines += 1
        self.say("  ".join(text.rjust(width) for width, text in cells.values()))

    def events(self, rollout: int, events: list[dict[str, str]]) -> None:
        """Say the events of a rollout that were not said yet."""
        number, said = self._said
        said = said if number == rollout else 0
        for event in events[said:]:
            if event["kind"] not in LOGGED_ELSEWHERE:
                text = f"rollout {rollout}, {event['kind'].replace('_', '-')}: {event['message']}"
                self.say(wrapped(text))
        self._said = (rollout, len(events))

    def evaluation(self, update: int, metrics: Mapping[str, float], prefix: str) -> None:
        """Say the reward and pass@k of an evaluation and its time; `prefix` is that of its metrics, as `eval_NAME`."""
        own = {name.removeprefix(f"{prefix}_"): value for name, value in metrics.items()}
        words = [f"{name} {_text(own[name], '.3f')}" for name in own if name == "reward" or name.startswith("pass@")]
        if "runtime" in own:
            words.append(f"time {clock(own['runtime'])}")
        of = prefix.removeprefix("eval").removeprefix("_")
        what = f"evaluation of {of}" if of else "evaluation"
        self.say(wrapped(f"{what} at update {update}: {', '.join(words)}"))

    def close(self) -> None:
        """Say the last rollout, and remove the bar."""
        if self._unsaid:
            self._say_rollout()
        if self._progress is not None:
            self._progress.stop()
            self._progress = None


def _cells(record: Mapping[str, Any], extent: Extent, left: str) -> dict[str, tuple[int, str]]:
    """Return the cells of a line with their widths, by the names of the columns."""
    last = str(extent.rollouts - 1)
    cells = {"rollout": (max(7, 2 * len(last) + 1), f"{record['rollout']}/{last}")}
    if extent.staged:
        cells["stage"] = (5, _text(record["curriculum_stage"], "d"))
    if extent.controlled:
        cells |= {"phase": (6, record["stage"] or "-"), "target": (6, _text(record["target"], ".3f"))}
    noise = record["entropy_se"]
    cells["entropy"] = (12, _text(record["entropy"], ".3f") + ("" if noise is None else f" ±{noise:.3f}"))
    if extent.controlled:
        cells["control"] = (9, _text(record["control"], "+.3g"))
    return cells | {
        "reward": (7, _text(record["reward"], ".3f")[:7]),
        "length": (6, _text(record["completion_tokens"], ".1f")[:6].rstrip(".")),
        "cut": (4, _text(record["truncated_completions"], ".0%")),
        "seconds": (7, _text(record["seconds"], ".2f")[:6].rstrip(".")),
        "left": (8, left),
    }


def _text(value: float | None, form: str) -> str:
    return "-" if value is None or not math.isfinite(value) else format(value, form)
