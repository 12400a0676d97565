"""Drawing of a run's figure while the run goes on: in a process of its own, or at once where the figure is needed."""

import importlib.util
import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO

from ..common.children import end_with, python_command
from ..common.refusals import error_line
from .plots import FIGURE_FILE, plot_run


EVERY_SECONDS = 60.0  # a run that saves more often is drawn at some of its saves

logger = logging.getLogger(__name__)


class Drawing:
    """
    The figure of the run in `run_dir`, of which at most one drawing is in progress.

    A figure that cannot be drawn is one line in the log, and never ends the run.
    """

    def __init__(self, run_dir: str | Path) -> None:
        self._run_dir = Path(run_dir)
        self._process: subprocess.Popen[str] | None = None
        self._told: IO[str] | None = None  # what the process wrote to its standard error
        self._begun = time.monotonic()

    def behind(self) -> bool:
        """
        Start a drawing in a process of low priority, and return whether there will be a figure.

        Nothing is started while an earlier drawing runs, and in the first [`EVERY_SECONDS`] after its start. On Linux
        the process ends with this one.
        """
        if self._process is not None and self._process.poll() is not None:
            self._end(self._process)
        if self._process is None and _has_matplotlib() and time.monotonic() - self._begun >= EVERY_SECONDS:
            self._begun = time.monotonic()
            start = f"from es_trl.tracking.drawing import main; main({ascii(str(self._run_dir))}, {os.getpid()})"
            self._told = tempfile.TemporaryFile("w+")  # a pipe that nobody reads would block a process that warns a lot
            quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
            self._process = subprocess.Popen(python_command(start), stderr=self._told, text=True, **quiet)
        return _has_matplotlib()

    def now(self) -> bool:
        """Draw the figure in this process, from all finished rollouts, and return whether there is one."""
        if self._process is not None:
            self._process.kill()  # its figure would be older
            self._process.wait()
            self._process = None
        try:
            plot_run(self._run_dir)
        except Exception as error:  # matplotlib may raise anything
            _warn(error_line(error))
            return False
        return True

    def _end(self, process: subprocess.Popen[str]) -> None:
        """Log why a finished drawing failed, and forget its process."""
        self._process = None
        self._told.seek(0)
        told = self._told.read()
        if process.returncode != 0:
            _warn((told.strip() or f"exit code {process.returncode}").splitlines()[-1])


def main(run_dir: str, parent: int) -> None:
    """Draw the figure of a run as the process that `parent` started."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the parent, which ends this process
    os.nice(19)
    end_with(parent)
    try:
        plot_run(run_dir)
    except Exception as error:
        sys.exit(error_line(error))


def _has_matplotlib() -> bool:
    return importlib.util.find_spec("matplotlib") is not None


def _warn(why: str) -> None:
    logger.warning("%s is not drawn: %s", FIGURE_FILE, why.removeprefix("error: "))
