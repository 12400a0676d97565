"""The uploads of a run. Failed ones are logged and repeated at the next save or at the end."""

import shlex
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from huggingface_hub import HfApi
from huggingface_hub.utils import http_backoff
from transformers import TrainingArguments
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR
from transformers.utils import logging

from .repository import reason


logger = logging.get_logger(__name__)


class PushError(RuntimeError):
    """The last push of a run failed. The message says why, where the model is, and how to push it later."""


@dataclass(frozen=True)
class Save:
    """A save that is to be pushed."""

    update: int  # number of updates so far
    checkpoint: str  # folder of the checkpoint


class Pushes:
    """
    The uploads of one run, on the process that makes them.

    transformers uploads in the background and does not look at the result. While one save is uploaded, it silently
    skips the next. Every upload holds all files, so a later one replaces those that were missed.

    Args:
        repository (`str`):
            Name of the repository, for messages.
    """

    def __init__(self, repository: str) -> None:
        self.missed: tuple[int, ...] = ()  # updates whose saves were not pushed at their time
        self._repository = repository
        self._running: list[tuple[Save, list[Future]]] = []
        self._saved: Save | None = None
        self._pushed: Save | None = None
        self._untold: list[str] = []

    @property
    def running(self) -> Save | None:
        """The latest save that is being uploaded, or `None`."""
        return self._running[-1][0] if self._running else None

    @property
    def owed(self) -> Save | None:
        """The last save if it is not on the Hub yet, else `None`."""
        return None if self._saved == self._pushed else self._saved

    def send(self, save: Save, upload: Callable[[], None], jobs: Callable[[], Sequence[Future]]) -> None:
        """Start the `upload` of a save in the background. `jobs` returns the uploads that were started so far."""
        self._saved = save
        earlier = list(jobs())
        try:
            upload()
        except Exception as error:  # whatever fails here, a failed push must not end the run
            self._miss(save, f"failed ({reason(error)})")
            return
        if started := [job for job in jobs() if job not in earlier]:
            self._running.append((save, started))
        else:  # transformers starts no upload while one of its own runs
            self._miss(save, "was skipped, because an earlier one still runs")

    def leave_out(self, save: Save) -> None:
        """Record that a save is not uploaded, because another one still is."""
        self._saved = save
        self._miss(save, f"was skipped, because the push of update {self.running.update} still runs")

    def settle(self) -> None:
        """Record the results of the uploads that have ended."""
        ended = [push for push in self._running if all(job.done() for job in push[1])]
        self._running = [push for push in self._running if push not in ended]
        for save, jobs in ended:
            if errors := [error for job in jobs if (error := job.exception()) is not None]:
                self._miss(save, f"failed ({reason(errors[0])})")
            else:
                self._pushed = save

    def take_events(self) -> list[dict[str, str]]:
        """Return the events that are not in the history yet."""
        self.settle()
        told, self._untold = self._untold, []
        return [{"kind": "push", "message": message} for message in told]

    def _miss(self, save: Save, what: str) -> None:
        is_first = save.update not in self.missed
        next_try = "the next save or the end of the training" if is_first else "the recipe's end or push_to_hub()"
        message = f"the push of update {save.update} to {self._repository} {what}; {next_try} tries again"
        self.missed = tuple(dict.fromkeys([*self.missed, save.update]))
        self._untold.append(message)
        logger.warning(message)


def wait_for_hub(repository: str) -> None:
    """Ask the Hub for a repository, and retry for some seconds if it does not answer."""
    http_backoff("GET", f"{HfApi().endpoint}/api/models/{repository}")


def result_of(upload: Any, args: TrainingArguments, repository: str) -> Any:
    """Wait for an upload and return its result, or raise a `PushError`."""
    try:
        return upload.result()
    except Exception as error:  # HTTP, connection, Xet, or a card that the Hub rejects
        excluded = ["--exclude", "_*", "--exclude", f"{PREFIX_CHECKPOINT_DIR}-*"]
        command = ["hf", "upload", repository, args.output_dir, ".", *excluded]
        command += ["--private"] if args.hub_private_repo else []
        command += ["--revision", args.hub_revision] if args.hub_revision else []
        raise PushError(
            f"the push to {repository} failed ({reason(error)}); model, card and history are in {args.output_dir}. "
            f"Push them later with\n{shlex.join(command)}"
        ) from error
