"""A pool of workers, which are started without the user's script and replaced when they die."""

import multiprocessing
import os
import queue
import subprocess
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

from .worker import Outcome, Question


START_SECONDS = 300.0  # imports from a slow network disk take their time
_SLACK_SECONDS = 10.0  # after which a worker is dead that should have killed its child
_FOLDER = os.getcwd()  # that of imports by a relative path, whatever folder a script goes to later


class Worker:
    """
    A process that runs [`worker.main`].

    Linux ends it with the thread that starts it, so that thread must live as long as the worker is needed.

    Raises:
        RuntimeError: where the process ends, or hangs, before it is ready.
    """

    def __init__(self) -> None:
        path = [entry or _FOLDER for entry in map(str, sys.path)]
        self._connection, theirs = multiprocessing.Pipe()
        with theirs:
            start = f"from es_trl.rewards.worker import main; main({theirs.fileno()}, {os.getpid()})"
            self._process = subprocess.Popen(
                [sys.executable, "-c", f"import sys; sys.path[:] = {ascii(path)}; {start}"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )
        try:
            ready = self._connection.poll(START_SECONDS) and self._connection.recv() is None
        except (EOFError, OSError):
            ready = False
        if not ready:
            self.end()
            raise RuntimeError(
                f"a worker of the math reward ended before it was ready, with exit code {self._process.returncode}: "
                "its own message is above"
            )

    def ask(self, question: Question, seconds: float) -> Outcome:
        """The outcome, or `None` where it is not there in time or a process died."""
        try:
            self._connection.send((question, seconds))
            if self._connection.poll(seconds + _SLACK_SECONDS):
                return self._connection.recv()
        except (EOFError, OSError):
            pass  # it died, which the outcome says
        self.end()
        return None

    def end(self) -> None:
        """Kill the process, and its child with it."""
        self._process.kill()
        self._process.wait()
        self._connection.close()

    @property
    def ended(self) -> bool:
        """Whether the process has been killed, or has died."""
        return self._process.poll() is not None


class Workers:
    """
    Workers that start when they are first needed.

    Args:
        count (`int`):
            Workers at most, at least 1.
    """

    def __init__(self, count: int) -> None:
        # these threads live until the interpreter ends, and the workers, which they start, with them
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="math-reward")
        self._idle: queue.LifoQueue[Worker] = queue.LifoQueue()

    def ask(self, questions: Iterable[Question], seconds: float) -> Iterator[Outcome]:
        """
        The outcomes, in the questions' order.

        Args:
            questions (iterable of `Question`):
                What to judge.
            seconds (`float`):
                Time for each, after which the process that judges it is killed. The start of a worker does not count.
        """
        return self._threads.map(lambda question: self._ask(question, seconds), questions)

    def _ask(self, question: Question, seconds: float) -> Outcome:
        worker = self._next()
        outcome = worker.ask(question, seconds)
        if not worker.ended:
            self._idle.put(worker)
        return outcome

    def _next(self) -> Worker:
        while True:
            try:
                worker = self._idle.get_nowait()
            except queue.Empty:
                return Worker()
            if not worker.ended:  # between two questions, by the system
                return worker


_workers: dict[str, Workers] = {}
os.register_at_fork(after_in_child=_workers.clear)  # a parent's workers and threads are not the child's


def workers() -> Workers:
    """This process's workers: at most 8, and no more than its share of the processors."""
    if "all" not in _workers:
        processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        count = max(1, min(8, processors // int(os.environ.get("LOCAL_WORLD_SIZE", 1))))
        _workers.setdefault("all", Workers(count))  # of two threads one wins; the other's has started nothing
    return _workers["all"]
