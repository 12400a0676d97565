"""
The worker process, which does not run the user's script and forks a child that judges answers.

The child can be killed at any time. A new child is ready in milliseconds, because the worker has done all imports.
"""

import logging
import multiprocessing
import os
import resource
import signal
import sys
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from ..common.children import end_with


MAX_BYTES = 3 << 28  # 768 MiB, the address space of a child; an answer that needs more counts as wrong
GROWN_BYTES = 1 << 28  # 256 MiB; a child with more resident memory ends after its answer
_FORK = multiprocessing.get_context("fork")  # forking is safe, because this process has only one thread

Question = tuple[str, tuple[Any, ...]]  # a function of `judge` and its arguments
Outcome = bool | str | None  # text is a gold answer that cannot be read; None means too slow, or the child died


class Child:
    """The child process that judges, which alone handles hostile answers."""

    def __init__(self) -> None:
        self._connection, theirs = _FORK.Pipe()
        self._process = _FORK.Process(target=_work, args=(theirs, self._connection, os.getpid()), daemon=True)
        self._process.start()
        theirs.close()

    def ask(self, question: Question, seconds: float) -> tuple[Outcome, bool]:
        """Return the outcome, and whether the child takes more questions, which it does not after a large answer."""
        try:
            self._connection.send(question)
            return self._connection.recv() if self._connection.poll(seconds) else (None, False)
        except (EOFError, OSError):  # the child died
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
    """Answer each `(question, seconds)` from the process `parent` on the file descriptor `pipe` until it closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the parent, which ends this process
    end_with(parent)
    connection = Connection(pipe)
    from . import judge

    logging.getLogger("math_verify").setLevel(logging.ERROR)  # hide the warning that its own time limits are off
    judge.is_right("\\boxed{0.5}", ["\\frac{1}{2}"])  # the first use is slow, so it is done before any time limit
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


def _work(connection: Connection, other_end: Connection, parent: int) -> None:
    """Run as the child: send `(outcome, goes_on)` for each question."""
    from . import judge

    end_with(parent)
    other_end.close()
    if sys.platform == "linux":  # macOS does not accept RLIMIT_AS
        for limit, most in ((resource.RLIMIT_CORE, 0), (resource.RLIMIT_AS, MAX_BYTES)):
            hard = resource.getrlimit(limit)[1]
            resource.setrlimit(limit, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):  # hide the messages that the parser prints
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
        except Exception:  # sympy failed, or memory or recursion ran out, so the answer is not the gold one
            outcome = False
        statm = Path("/proc/self/statm")  # exists only on Linux
        resident = int(statm.read_text().split()[1]) * resource.getpagesize() if statm.exists() else 0
        goes_on = resident < GROWN_BYTES
        connection.send((outcome, goes_on))
