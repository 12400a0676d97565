"""Pushes of [`ESGRPOTrainer`]: what is uploaded is whole, what fails is said, and the end makes up for it."""

import contextlib
import shlex
import sys
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerate.utils import is_peft_model
from huggingface_hub import HfApi
from huggingface_hub.utils import http_backoff
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, HubStrategy
from transformers.utils import logging
from trl import GRPOTrainer

from ..tracking.history import RolloutRecord
from .card import complete_card
from .repository import open_repository, reason, refusing


PACKAGES = ("es_trl", "trl", "transformers", "torch", "accelerate")  # whose versions every card names

logger = logging.get_logger(__name__)


class PushError(RuntimeError):
    """The last push failed. The message says why, where the model is, and how to push it later."""


@dataclass
class _Push:
    """What was sent at a save, and is on its way."""

    save: tuple[int, str]  # update and checkpoint
    jobs: list[Future]


class PushingMixin(GRPOTrainer):
    """
    What transformers' pushes lack.

    They run in the background, nobody reads what became of them, and a save during one is left out without a word.
    Here all that is said in the log and, by the process that writes it, among the `events` of the history. Every
    upload has everything, so the next one makes up for those before it; and where the last save's did not arrive, the
    end of the training sends it again.
    """

    recipe: dict[str, Any] | None = None
    """What the recipe set, where there is one; it is in the card and in `es_recipe.yaml`, without tokens."""
    missed_pushes: tuple[int, ...] = ()
    """Updates whose saves did not reach the Hub by themselves."""

    _pushes: tuple[_Push, ...] = ()
    _saved: tuple[int, str] | None = None  # update and checkpoint of the last save that was to be pushed
    _pushed: tuple[int, str] | None = None  # of the last one that was
    _untold: tuple[str, ...] = ()  # what the history has not been told yet
    _card_waits = False

    def init_hf_repo(self, token: str | None = None) -> None:
        if self.is_world_process_zero() and not self.args.push_to_hub:  # else it is open since before the model loaded
            open_repository(self.args, token)
        with refusing(str(self.args.hub_model_id or self.args.output_dir)):
            super().init_hf_repo(token)

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        self._settle_pushes()
        self._card_waits = self._is_pushing
        if self._card_waits:  # an upload reads the card and the figure
            return
        super().create_model_card(*args, **kwargs)
        if self.is_world_process_zero():
            complete_card(Path(self.args.output_dir), self._packages)

    @property
    def _packages(self) -> list[str]:
        used = {"deepspeed": self.is_deepspeed_enabled, "vllm": self.use_vllm, "peft": is_peft_model(self.model)}
        return [*PACKAGES, *(name for name, is_used in used.items() if is_used and name in sys.modules)]

    # --- during training ---------------------------------------------------------------------------------------------

    def train(self, *args: Any, **kwargs: Any) -> Any:
        self._finish_current_push()  # of an earlier run that was interrupted
        self._pushes, self._saved, self._pushed, self._untold, self.missed_pushes = (), None, None, (), ()
        output = super().train(*args, **kwargs)
        if self._saved != self._pushed:
            self._push(self._saved)
            self._finish_current_push()
        return output

    @property
    def _is_pushing(self) -> bool:
        """Whether an upload must be left alone; with `hub_always_push` the next one stands behind it in a queue."""
        return bool(self._pushes) and not self.args.hub_always_push

    def _push_from_checkpoint(self, checkpoint_folder: str) -> None:
        if not self.is_world_process_zero() or self.args.hub_strategy == HubStrategy.END:
            return
        self._settle_pushes()
        self._saved = (self.state.global_step, checkpoint_folder)
        if self._is_pushing:
            running = self._pushes[-1].save[0]
            self._miss(self.state.global_step, f"was left out, as that of update {running} still runs")
            return
        self._push(self._saved)

    def _push(self, save: tuple[int, str]) -> None:
        update, checkpoint = save
        if self._card_waits:
            self.create_model_card(model_name=self.hub_model_id.split("/")[-1])
        earlier = [] if self.push_in_progress is None else list(self.push_in_progress.jobs)
        try:
            super()._push_from_checkpoint(checkpoint)
        except Exception as error:  # of whatever kind a tracker's network makes: the run is worth more than its push
            self._miss(update, f"failed ({reason(error)})")
            return
        jobs = [job for job in self.push_in_progress.jobs if job not in earlier]
        if jobs:
            self._pushes += (_Push(save, jobs),)
        else:  # transformers sends nothing while one of its own still runs
            self._miss(update, "was left out, as an earlier one still runs")

    def _settle_pushes(self) -> None:
        """Look at what became of the uploads that have ended."""
        ended = [push for push in self._pushes if all(job.done() for job in push.jobs)]
        self._pushes = tuple(push for push in self._pushes if push not in ended)
        for push in ended:
            errors = [error for job in push.jobs if (error := job.exception()) is not None]
            if errors:
                self._miss(push.save[0], f"failed ({reason(errors[0])})")
            else:
                self._pushed = push.save

    def _miss(self, update: int, what: str) -> None:
        is_first = update not in self.missed_pushes
        next_try = (
            "the next save or the end of the training" if is_first else "the recipe's end or trainer.push_to_hub()"
        )
        message = f"the push of update {update} to {self.hub_model_id} {what}; {next_try} tries again"
        self.missed_pushes = tuple(dict.fromkeys([*self.missed_pushes, update]))
        self._untold += (message,)
        logger.warning(message)

    def _tell_pushes(self, record: RolloutRecord) -> None:
        """Put what pushes missed since the rollout before among the events of this one."""
        self._settle_pushes()
        if self._untold:
            told = [{"kind": "push", "message": message} for message in self._untold]
            record.events = [*(record.events or []), *told]
            self._untold = ()

    def _finish_current_push(self) -> None:
        super()._finish_current_push()
        self._settle_pushes()

    # --- at the end --------------------------------------------------------------------------------------------------

    def push_to_hub(
        self,
        commit_message: str | None = "End of training",
        blocking: bool = True,
        token: str | None = None,
        revision: str | None = None,
        **kwargs: Any,
    ) -> Any:
        """
        Save the model, write its card and upload both, as `Trainer.push_to_hub`; a Hub that is away for some seconds
        is waited for.

        Raises:
            PushError: on the main process, where the upload fails and `blocking` is true; the model is saved then.
        """
        self._finish_current_push()  # it reads what is written anew here
        if self.is_world_process_zero() and self.hub_model_id is not None:
            with contextlib.suppress(Exception):  # the upload will say what is wrong
                http_backoff("GET", f"{HfApi().endpoint}/api/models/{self.hub_model_id}")
        upload = super().push_to_hub(commit_message, False, token, revision, **kwargs)
        if upload is None or not blocking:
            return upload
        try:
            return upload.result()
        except Exception as error:  # HTTP, connection, Xet, card that the Hub does not take
            raise PushError(
                f"the push to {self.hub_model_id} failed ({reason(error)}); model, card and history are in "
                f"{self.args.output_dir}. Push them later with\n{self._upload_command}"
            ) from error

    @property
    def _upload_command(self) -> str:
        words = ["hf", "upload", self.hub_model_id, self.args.output_dir, "."]
        words += ["--exclude", "_*", "--exclude", f"{PREFIX_CHECKPOINT_DIR}-*"]
        words += ["--private"] if self.args.hub_private_repo else []
        words += ["--revision", self.args.hub_revision] if self.args.hub_revision else []
        return shlex.join(words)
