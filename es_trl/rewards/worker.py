"""A worker that judges answers: a process of its own that hostile answers can neither hold nor outlive."""

import ctypes
import logging
import os
import resource
import signal
import sys
from multiprocessing.connection import Connection
from pathlib import Path


MAX_BYTES = 1 << 30  # address space of a worker: an answer that needs more is wrong
GROWN_BYTES = 1 << 28  # resident memory above which a worker is replaced after its answer
_PR_SET_PDEATHSIG = 1


def main(pipe: int, parent: int) -> None:
    """
    Answer the questions that come over a pipe until it is closed.

    A question is `(function, arguments, seconds)` with a function's name in [`judge`]. The reply is `(outcome, True)`
    where the worker goes on, `(outcome, False)` where it has grown and ends. The outcome is a bool, or the text of a
    gold answer that cannot be read.

    Args:
        pipe (`int`):
            File descriptor of a connection.
        parent (`int`):
            Process that asks.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, whose end is ours
    _end_with(parent)
    connection = Connection(pipe)
    from . import judge

    logging.getLogger("math_verify").setLevel(logging.ERROR)  # it warns that its own time limits are off; ours are on
    judge.is_right("\\boxed{0.5}", ["\\frac{1}{2}"])  # what is slow at first use belongs here, where no time runs
    _limit()
    connection.send(None)
    while True:
        try:
            function, arguments, seconds = connection.recv()
        except EOFError:
            return
        signal.alarm(int(seconds) + 2)  # of the kernel, should the parent end where it cannot end us
        try:
            outcome: bool | str = getattr(judge, function)(*arguments)
        except judge.UnreadableGold as error:
            outcome = str(error)
        except Exception:  # what sympy cannot do, memory and recursion that ran out: the answer is not the gold one
            outcome = False
        signal.alarm(0)
        goes_on = _resident_bytes() < GROWN_BYTES
        connection.send((outcome, goes_on))
        if not goes_on:
            return


def _end_with(parent: int) -> None:
    """Have the kernel end this process when the thread that started it ends, at any work."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before
        os._exit(1)


def _limit() -> None:
    for limit, most in ((resource.RLIMIT_CORE, 0), (resource.RLIMIT_AS, MAX_BYTES)):
        hard = resource.getrlimit(limit)[1]
        if sys.platform == "linux":  # macOS refuses the second
            resource.setrlimit(limit, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)  # the parser's complaints about answers
    os.dup2(nowhere, 2)


def _resident_bytes() -> int:
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * resource.getpagesize() if statm.exists() else 0
