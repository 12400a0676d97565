"""Checkpoints of [`ESGRPOTrainer`]: written at the end of an update, whole or not taken for whole."""

import shutil
from pathlib import Path
from typing import Any

import transformers.trainer
from transformers.trainer import TRAINER_STATE_NAME, rotate_checkpoints
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, TrainOutput
from transformers.utils import logging

from .checkpoint_files import list_files, remove_old
from .control import broken_policy
from .micro_batches import temporarily
from .resuming import ResumingMixin
from .state import RunState, save_rollout
from .weights import save_reference, weights_are_finite
from .writing import writing


logger = logging.get_logger(__name__)


class CheckpointingMixin(ResumingMixin):
    """
    What TRL's checkpoints lack: where the run is, and by what a whole one is known.

    `es_state.json` lists the files of a checkpoint when every process is done with its own, and `trainer_state.json`
    is written last. A save that is asked for inside an update is made at its end.
    """

    def _maybe_log_save_evaluate(self, *args: Any, **kwargs: Any) -> None:
        if self.state.global_step != self._ended_update:
            self._ended_update, self._ended_micro_step = self.state.global_step, self._step
        if self._save_is_due and self._step == self._ended_micro_step:
            self.control.should_save, self._save_is_due = True, False
        super()._maybe_log_save_evaluate(*args, **kwargs)

    def _save_checkpoint(self, model, trial):
        update = self.state.global_step
        if self._step != self._ended_micro_step:
            # gradients of a part of an update are in no checkpoint
            logger.warning(f"a save was asked for inside update {update + 1}: it is made at the end of that update")
            self._save_is_due = True
            return
        if update == self._saved_update:
            return
        if not weights_are_finite(self.model_wrapped, self.accelerator):
            raise ValueError(broken_policy(self._next_rollout, "its weights are not finite"))
        run_dir = Path(self._get_output_dir(trial=trial))
        folder = run_dir / f"{PREFIX_CHECKPOINT_DIR}-{update}"
        advice = "make room or mend the folder, and resume from the last whole checkpoint"
        with writing(folder, f"the checkpoint of update {update}", advice):
            try:
                self._discard(folder)  # of a save that was cut short, or of an earlier run
                self.accelerator.wait_for_everyone()
                with temporarily(transformers.trainer, rotate_checkpoints=self._remove_old):
                    super()._save_checkpoint(model, trial)
            except BaseException:
                self._discard(folder)  # a part of a checkpoint takes room and is of no use
                raise
        self._saved_update = update

    def _discard(self, folder: Path) -> None:
        if self.args.should_save and folder.exists():
            (folder / TRAINER_STATE_NAME).unlink(missing_ok=True)  # first: what is half deleted is not whole
            shutil.rmtree(folder, ignore_errors=True)

    def _remove_old(
        self, output_dir: str, save_total_limit: int | None, best_model_checkpoint: str | None, **_: Any
    ) -> None:
        if self.args.save_only_model:  # these do not say whose they are
            rotate_checkpoints(output_dir, save_total_limit, best_model_checkpoint, use_mtime=False)
        else:
            remove_old(Path(output_dir), self._run, save_total_limit, best_model_checkpoint)

    def _finalize_training(self, *args: Any, **kwargs: Any) -> TrainOutput:
        if self._save_is_due:
            logger.warning(f"the save inside update {self.state.global_step + 1} was not made: training stopped in it")
        # transformers deletes the last checkpoint beside the best one, by which a restart knows that the run is done
        with temporarily(self.args, save_total_limit=None):
            return super()._finalize_training(*args, **kwargs)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        # Here and in the next hook, because both come before the push to the Hub.
        super()._save_optimizer_and_scheduler(output_dir)
        folder, process = Path(output_dir), self.accelerator.process_index
        folder.mkdir(parents=True, exist_ok=True)
        if self._rollout is not None:
            save_rollout(folder, process, self._buffered_inputs)
        if self.args.sync_ref_model:
            save_reference(self.ref_model, folder, process)
        if self.args.should_save:
            shutil.copy(self.history.path, output_dir)

    def _save_rng_state(self, output_dir: str) -> None:
        super()._save_rng_state(output_dir)
        self.accelerator.wait_for_everyone()  # es_state.json lists the files of every process
        files = list_files(Path(output_dir), self.accelerator)
        if self.args.should_save:
            self._state(files).save(output_dir)

    def _state(self, files: dict[str, list[Any]]) -> RunState:
        rollout = self._rollout
        return RunState(
            run=self._run,
            files=files,
            global_step=self.state.global_step,
            epoch=self.state.epoch,
            geometry=self._counts,
            micro_step=self._step,
            rollout=self._next_rollout,
            record=None if rollout is None else rollout.record,
            clip_fractions=[] if rollout is None else rollout.clip_fractions,
            seconds=0.0 if rollout is None else rollout.seconds,
            settings={**self._settings, **self._adaptive_coefficient},
            metrics=dict(self._metrics["train"]),
            callbacks=[(type(callback).__name__, callback.state_dict()) for callback in self._stateful_callbacks],
            configuration=self._described,
            next_target=self._next_target(self._next_rollout + (rollout is not None), self.state.max_steps),
        )
