"""The pool of workers, which do not run the user's script and are replaced when they die."""

import contextlib
import multiprocessing
import os
import queue
import subprocess
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

from ..common.children import python_command
from .worker import Outcome, Question


START_SECONDS = 300.0  # enough for imports from a slow network disk
_SLACK_SECONDS = 10.0  # a worker that needs longer to kill its child counts as dead


class Worker:
    """A worker process, which runs [`worker.main`]. On Linux it ends with the thread that started it."""

    def __init__(self) -> None:
        self._connection, theirs = multiprocessing.Pipe()
        with theirs:
            start = f"from es_trl.rewards.worker import main; main({theirs.fileno()}, {os.getpid()})"
            quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
            self._process = subprocess.Popen(python_command(start), pass_fds=[theirs.fileno()], **quiet)
        try:
            ready = self._connection.poll(START_SECONDS) and self._connection.recv() is None
        except (EOFError, OSError):
            ready = False
        if not ready:
            self.end()
            fault = f"ended before it was ready, with exit code {self._process.returncode}"
            raise RuntimeError(f"a worker of the math reward {fault}: read its own message above")

    def ask(self, question: Question, seconds: float) -> Outcome:
        """Return the outcome, or `None` if it is late or a process died."""
        with contextlib.suppress(EOFError, OSError):  # the worker died, so the outcome is None
            self._connection.send((question, seconds))
            if self._connection.poll(seconds + _SLACK_SECONDS):
                return self._connection.recv()
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
    """A pool of at most `count` workers, which start when they are first needed."""

    def __init__(self, count: int) -> None:
        # a worker lives as long as the thread that started it, and these threads live until the interpreter ends
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="math-reward")
        self._idle: queue.LifoQueue[Worker] = queue.LifoQueue()

    def ask(self, questions: Iterable[Question], seconds: float) -> Iterator[Outcome]:
        """Return the outcomes in order; a child that judges for more than `seconds` is killed."""
        return self._threads.map(lambda question: self._ask(question, seconds), questions)

    def _ask(self, question: Question, seconds: float) -> Outcome:
        try:
            while (worker := self._idle.get_nowait()).ended:  # the system may kill a worker between two questions
                pass
        except queue.Empty:
            worker = Worker()
        outcome = worker.ask(question, seconds)
        if not worker.ended:
            self._idle.put(worker)
        return outcome


_workers: dict[str, Workers] = {}
os.register_at_fork(after_in_child=_workers.clear)  # a forked child cannot use the workers and threads of its parent


def workers() -> Workers:
    """Return the pool of this process, of at most 8 workers and no more than its share of the processors."""
    if "all" not in _workers:
        processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        count = max(1, min(8, processors // int(os.environ.get("LOCAL_WORLD_SIZE", 1))))
        _workers.setdefault("all", Workers(count))  # with two threads one pool is dropped, before it starts a worker
    return _workers["all"]
