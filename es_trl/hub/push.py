"""What became of the uploads of a run: what fails is told, and the next save or the end makes up for it."""

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
    """The last push failed. The message says why, where the model is, and how to push it later."""


@dataclass(frozen=True)
class Save:
    """A save that is to be on the Hub."""

    update: int  # updates made
    checkpoint: str  # its folder


class Pushes:
    """
    The uploads of one training to `repository`, on the process that makes them.

    transformers uploads in the background, reads no result, and leaves a save out without a word while another one is
    uploaded. Every upload has everything, so the next one makes up for those before it.
    """

    def __init__(self, repository: str) -> None:
        self.missed: tuple[int, ...] = ()  # updates whose saves did not reach the Hub by themselves
        self._repository = repository
        self._running: list[tuple[Save, list[Future]]] = []
        self._saved: Save | None = None
        self._pushed: Save | None = None
        self._untold: list[str] = []

    @property
    def running(self) -> Save | None:
        """The save that is uploaded now, the last one of several; `None` where none is."""
        return self._running[-1][0] if self._running else None

    @property
    def owed(self) -> Save | None:
        """The last save, where it is not on the Hub; `None` where it is, or where none was to be pushed."""
        return None if self._saved == self._pushed else self._saved

    def send(self, save: Save, upload: Callable[[], None], jobs: Callable[[], Sequence[Future]]) -> None:
        """Start the `upload` of a save in the background; `jobs` gives the uploads that were started so far."""
        self._saved = save
        earlier = list(jobs())
        try:
            upload()
        except Exception as error:  # also of a tracker's network: the run is worth more than its push
            self._miss(save, f"failed ({reason(error)})")
            return
        if started := [job for job in jobs() if job not in earlier]:
            self._running.append((save, started))
        else:  # transformers sends nothing while one of its own still runs
            self._miss(save, "was left out, as an earlier one still runs")

    def leave_out(self, save: Save) -> None:
        """Take note that a save is not uploaded, because another one still is."""
        self._saved = save
        self._miss(save, f"was left out, as that of update {self.running.update} still runs")

    def settle(self) -> None:
        """Look at what became of the uploads that have ended."""
        ended = [push for push in self._running if all(job.done() for job in push[1])]
        self._running = [push for push in self._running if push not in ended]
        for save, jobs in ended:
            if errors := [error for job in jobs if (error := job.exception()) is not None]:
                self._miss(save, f"failed ({reason(errors[0])})")
            else:
                self._pushed = save

    def take_events(self) -> list[dict[str, str]]:
        """Return what the history has not been told yet."""
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
    """Ask the Hub for a repository, and again for some seconds where it is away."""
    http_backoff("GET", f"{HfApi().endpoint}/api/models/{repository}")


def result_of(upload: Any, args: TrainingArguments, repository: str) -> Any:
    """Wait for an upload, or raise a `PushError`."""
    try:
        return upload.result()
    except Exception as error:  # HTTP, connection, Xet, card that the Hub does not take
        excluded = ["--exclude", "_*", "--exclude", f"{PREFIX_CHECKPOINT_DIR}-*"]
        command = ["hf", "upload", repository, args.output_dir, ".", *excluded]
        command += ["--private"] if args.hub_private_repo else []
        command += ["--revision", args.hub_revision] if args.hub_revision else []
        raise PushError(
            f"the push to {repository} failed ({reason(error)}); model, card and history are in {args.output_dir}. "
            f"Push them later with\n{shlex.join(command)}"
        ) from error
