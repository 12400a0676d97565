"""
A worker that judges answers: a process without the user's script, which forks a child that does the work.

The child can be killed at any time; the next one is ready in milliseconds, with all imports done.
"""

import ctypes
import logging
import multiprocessing
import os
import resource
import signal
import sys
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any


MAX_BYTES = 3 << 28  # 768 MiB, address space of a child; an answer that needs more is wrong
GROWN_BYTES = 1 << 28  # resident memory from which a child ends after its answer
_FORK = multiprocessing.get_context("fork")  # safe here: this process has one thread

Question = tuple[str, tuple[Any, ...]]  # a function of `judge` and its arguments
Outcome = bool | str | None  # str: a gold answer that cannot be read; None: too slow, or the child died


class Child:
    """The process that judges, the only one that reads hostile answers."""

    def __init__(self) -> None:
        self._connection, theirs = _FORK.Pipe()
        self._process = _FORK.Process(target=_work, args=(theirs, self._connection, os.getpid()), daemon=True)
        self._process.start()
        theirs.close()

    def ask(self, question: Question, seconds: float) -> tuple[Outcome, bool]:
        """Return the outcome, and whether the child goes on, which it does not after a slow or large answer."""
        try:
            self._connection.send(question)
            return self._connection.recv() if self._connection.poll(seconds) else (None, False)
        except (EOFError, OSError):  # it died
            return None, False

    def end(self) -> None:
        """Kill the process."""
        self._process.kill()
        self._process.join()
        self._connection.close()

    @property
    def ended(self) -> bool:
        """Whether the process has died between two questions."""
        return not self._process.is_alive()


def main(pipe: int, parent: int) -> None:
    """Answer each `(question, seconds)` of the process `parent` on the file descriptor `pipe`, until it is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the parent, and its end ends this process
    _end_with(parent)
    connection = Connection(pipe)
    from . import judge

    logging.getLogger("math_verify").setLevel(logging.ERROR)  # it warns that its own time limits are off
    judge.is_right("\\boxed{0.5}", ["\\frac{1}{2}"])  # the first use is slow, and no time limit runs here
    connection.send(None)
    child: Child | None = None
    while True:
        try:
            question, seconds = connection.recv()
        except (EOFError, OSError):
            return  # the child ends with this process
        if child is None or child.ended:
            child = Child()
        outcome, goes_on = child.ask(question, seconds)
        if not goes_on:
            child.end()
            child = None
        connection.send(outcome)


def _end_with(parent: int) -> None:
    """Have Linux kill this process when the thread that started it ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:  # the parent has ended already
        os._exit(1)


def _work(connection: Connection, other_end: Connection, parent: int) -> None:
    """Send `(outcome, goes on)` for each question, as a child."""
    from . import judge

    _end_with(parent)
    other_end.close()
    if sys.platform == "linux":  # macOS refuses the second
        for limit, most in ((resource.RLIMIT_CORE, 0), (resource.RLIMIT_AS, MAX_BYTES)):
            hard = resource.getrlimit(limit)[1]
            resource.setrlimit(limit, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):  # the parser prints complaints
        os.dup2(nowhere, stream)
    goes_on = True
    while goes_on:
        try:
            function, arguments = connection.recv()
        except EOFError:
            return
        try:
            outcome: Outcome = getattr(judge, function)(*arguments)
        except judge.UnreadableGold as error:
            outcome = str(error)
        except Exception:  # sympy failed, or memory or recursion ran out: it is not the gold answer
            outcome = False
        statm = Path("/proc/self/statm")  # Linux alone has it
        resident = int(statm.read_text().split()[1]) * resource.getpagesize() if statm.exists() else 0
        goes_on = resident < GROWN_BYTES
        connection.send((outcome, goes_on))
