"""`PushingTrainer`: a `GRPOTrainer` whose uploads are private unless said otherwise, told, and made up for."""

import contextlib
import sys
from pathlib import Path
from typing import Any

from accelerate.utils import is_peft_model
from transformers.trainer_utils import HubStrategy, TrainOutput
from trl import GRPOTrainer

from ..hub.card import complete_card
from ..hub.push import Pushes, Save, result_of, wait_for_hub
from ..hub.repository import open_repository, refusing


PACKAGES = ("es_trl", "trl", "transformers", "torch", "accelerate")  # whose versions every card names


class PushingTrainer(GRPOTrainer):
    """
    [`~trl.GRPOTrainer`] that says what became of its uploads.

    A save whose upload failed or was left out is in the next one; at the end of a training the last one is sent again.
    """

    def __init__(self, *args: Any, **kwargs: Any):
        self._pushes = Pushes("")
        self._card_is_due = False  # it was asked for while an upload read the one that is there
        super().__init__(*args, **kwargs)

    @property
    def missed_pushes(self) -> tuple[int, ...]:
        """Updates whose saves did not reach the Hub by themselves."""
        return self._pushes.missed

    def train(self, *args: Any, **kwargs: Any) -> TrainOutput:
        self._finish_current_push()  # of an earlier run that was interrupted
        self._pushes = Pushes(str(self.hub_model_id))
        output = super().train(*args, **kwargs)
        if (owed := self._pushes.owed) is not None:
            self._push(owed)
            self._finish_current_push()
        return output

    def init_hf_repo(self, token: str | None = None) -> None:
        if self.is_world_process_zero() and not self.args.push_to_hub:  # else it is open since before the model loaded
            open_repository(self.args, token)
        with refusing(str(self.args.hub_model_id or self.args.output_dir)):
            super().init_hf_repo(token)

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        self._pushes.settle()
        self._card_is_due = self._is_pushing
        if self._card_is_due:  # an upload reads the card and the figure
            return
        super().create_model_card(*args, **kwargs)
        if self.is_world_process_zero():
            complete_card(Path(self.args.output_dir), self._packages)

    @property
    def _packages(self) -> list[str]:
        """The packages that the run has used."""
        used = {"deepspeed": self.is_deepspeed_enabled, "vllm": self.use_vllm, "peft": is_peft_model(self.model)}
        return [*PACKAGES, *(name for name, is_used in used.items() if is_used and name in sys.modules)]

    @property
    def _is_pushing(self) -> bool:
        """Whether an upload must be left alone; with `hub_always_push` the next one stands behind it in a queue."""
        return self._pushes.running is not None and not self.args.hub_always_push

    def _push_from_checkpoint(self, checkpoint_folder: str) -> None:
        if not self.is_world_process_zero() or self.args.hub_strategy == HubStrategy.END:
            return
        self._pushes.settle()
        saved = Save(self.state.global_step, checkpoint_folder)
        if self._is_pushing:
            self._pushes.leave_out(saved)
        else:
            self._push(saved)

    def _push(self, saved: Save) -> None:
        if self._card_is_due:
            self.create_model_card(model_name=self.hub_model_id.split("/")[-1])
        upload = super()._push_from_checkpoint
        self._pushes.send(saved, lambda: upload(saved.checkpoint), lambda: getattr(self.push_in_progress, "jobs", []))

    def _finish_current_push(self) -> None:
        super()._finish_current_push()
        self._pushes.settle()

    def push_to_hub(
        self,
        commit_message: str | None = "End of training",
        blocking: bool = True,
        token: str | None = None,
        revision: str | None = None,
        **kwargs: Any,
    ) -> Any:
        """
        Save the model, write its card and upload both, as `Trainer.push_to_hub`; wait for a Hub that is away briefly.

        Raises:
            PushError: on the main process, where the upload fails and `blocking` is true; the model is saved then.
        """
        self._finish_current_push()  # it reads what is written anew here
        if self.is_world_process_zero() and self.hub_model_id is not None:
            with contextlib.suppress(Exception):  # the upload will say what is wrong
                wait_for_hub(self.hub_model_id)
        upload = super().push_to_hub(commit_message, False, token, revision, **kwargs)
        return result_of(upload, self.args, self.hub_model_id) if upload is not None and blocking else upload
