"""`PushingTrainer`: a `GRPOTrainer` that uploads privately by default, logs failed uploads and retries them."""

import contextlib
import sys
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import is_peft_model
from transformers.trainer_utils import HubStrategy, TrainOutput
from trl import GRPOTrainer

from ..common.temporarily import temporarily
from ..hub.card import Extras, complete_card
from ..hub.push import Pushes, Save, result_of, wait_for_hub
from ..hub.repository import open_repository, refusing
from ..tracking.drawing import Drawing
from .last_page import write_page


PACKAGES = ("es_trl", "trl", "transformers", "torch", "accelerate")  # every card names their versions


class PushingTrainer(GRPOTrainer):
    """
    [`~trl.GRPOTrainer`] that logs failed uploads and retries them.

    The upload of a save can fail, or be skipped while an earlier upload is running. The next save uploads its files
    too, and the end of the training uploads the last save again if needed.
    """

    def __init__(self, *args: Any, **kwargs: Any):
        self._pushes = Pushes("")
        self._is_at_save = False
        self._card_is_due = False  # true when a card was due while an upload was reading the old one
        super().__init__(*args, **kwargs)
        self._drawing = Drawing(self.args.output_dir)

    @property
    def missed_pushes(self) -> tuple[int, ...]:
        """The updates whose saves failed to upload or were skipped; a later upload may have included their files."""
        return self._pushes.missed

    def train(self, *args: Any, **kwargs: Any) -> TrainOutput:
        """Train as `GRPOTrainer` does, then upload the last save again if its upload failed or was skipped."""
        self._finish_current_push()  # an interrupted run may have left one
        self._pushes = Pushes(str(self.hub_model_id))
        output = super().train(*args, **kwargs)
        if (owed := self._pushes.owed) is not None:
            self._push(owed)
            self._finish_current_push()
        return output

    def init_hf_repo(self, token: str | None = None) -> None:
        """Create the repository on the Hub, private unless the configuration says otherwise, and check access."""
        if self.is_world_process_zero() and not self.args.push_to_hub:  # push_to_hub opened it before the model loaded
            open_repository(self.args, token)
        with refusing(str(self.args.hub_model_id or self.args.output_dir)):
            super().init_hf_repo(token)

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """Write the model card with the run's curves and versions; during an upload, write it before the next one."""
        self._pushes.settle()
        self._card_is_due = self._is_pushing
        if self._card_is_due:
            return
        super().create_model_card(*args, **kwargs)
        if self.is_world_process_zero():
            run_dir, at_save = Path(self.args.output_dir), self._is_at_save
            draw = self._drawing.behind if at_save else self._drawing.now
            has_chat_template = getattr(self._tokenizer, "chat_template", None) is not None
            extras = Extras(draw, lambda: not at_save and write_page(run_dir))
            complete_card(run_dir, self._packages, has_chat_template, extras)

    @property
    def _packages(self) -> list[str]:
        """The packages that the run uses, for the versions in the card."""
        used = {"deepspeed": self.is_deepspeed_enabled, "vllm": self.use_vllm, "peft": is_peft_model(self.model)}
        return [*PACKAGES, *(name for name, is_used in used.items() if is_used and name in sys.modules)]

    @property
    def _is_pushing(self) -> bool:
        """Whether an upload is running and no other may start; with `hub_always_push` uploads wait in a queue."""
        return self._pushes.running is not None and not self.args.hub_always_push

    def _save_checkpoint(self, model: torch.nn.Module, trial: Any) -> None:
        # a figure that is not uploaded at this save must not delay the run
        pushes = self.args.push_to_hub and self.args.hub_strategy != HubStrategy.END
        with temporarily(self, _is_at_save=not pushes):
            super()._save_checkpoint(model, trial)

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
        Save the model, write its card and upload both, as `Trainer.push_to_hub` does.

        If the Hub does not answer, the upload first waits for it for a short time.

        Args:
            commit_message (`str`, *optional*, defaults to `"End of training"`):
                Message of the commit.
            blocking (`bool`, *optional*, defaults to `True`):
                Whether to wait until the upload is done.
            token, revision, kwargs (*optional*):
                As in `Trainer.push_to_hub`.

        Returns:
            `CommitInfo`, or a future of it if `blocking` is false. It is `None` on all processes but the main one.

        Raises:
            PushError: on the main process, if the upload fails and `blocking` is true. The model is saved by then.
        """
        self._finish_current_push()  # it reads the files that are rewritten here
        if self.is_world_process_zero() and self.hub_model_id is not None:
            with contextlib.suppress(Exception):  # the upload below raises the error
                wait_for_hub(self.hub_model_id)
        upload = super().push_to_hub(commit_message, False, token, revision, **kwargs)
        return result_of(upload, self.args, self.hub_model_id) if upload is not None and blocking else upload
