"""Checkpoints of [`ESGRPOTrainer`]: written at the end of an update, whole or not taken for whole."""

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import transformers.trainer
from transformers.trainer import rotate_checkpoints
from transformers.trainer_callback import ExportableState
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, TrainOutput
from transformers.utils import logging

from ..checkpoints.choice import bring_back, drop_aside, remove_old, set_aside
from ..checkpoints.files import list_files, trainer_state_digest
from ..checkpoints.run_state import RunState, save_rollout
from ..checkpoints.weights import save_reference, weights_are_finite
from ..common.temporarily import temporarily
from ..common.writing import writing
from ..control.checks import checked_state
from ..control.loop import broken_policy
from .resuming import ResumingMixin


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
            self._has_ended_one = True
        if self._save_is_due and self._is_between_updates:
            self.control.should_save, self._save_is_due = True, False
        super()._maybe_log_save_evaluate(*args, **kwargs)

    def _run_epoch(self, *args: Any, **kwargs: Any) -> None:
        self._has_ended_one = False  # the loader has drawn from the random state, which no resume could repeat
        update, micro_step = self.state.global_step, self._step
        super()._run_epoch(*args, **kwargs)
        if self._num_prompts is None and self.state.global_step == update and self._step > micro_step:
            if not self.control.should_training_stop:
                raise ValueError(
                    f"a pass over the stream gave {self._step - micro_step} micro-batches and no update, which takes "
                    f"{self.args.gradient_accumulation_steps}: give a longer stream, or set "
                    "gradient_accumulation_steps lower"
                )

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        was, self._is_evaluating = self._is_evaluating, True
        try:
            return super().evaluate(*args, **kwargs)
        finally:
            self._is_evaluating = was

    @property
    def _is_between_updates(self) -> bool:
        """Whether all that a checkpoint holds is as it was at the end of the last update."""
        has_just_begun = self._rollout is not None and self._step % self._generate_every == 0
        counts = self._step == self._ended_micro_step and self._has_ended_one
        return counts and not has_just_begun and not self._is_evaluating

    def _save_checkpoint(self, model, trial):
        update = self.state.global_step
        if not self._is_between_updates:
            logger.warning(f"a save was asked for inside update {update + 1}: it is made at the end of that update")
            self._save_is_due = True
            return
        if update == self._saved_update:
            return
        if not weights_are_finite(self.model_wrapped, self.accelerator):
            raise ValueError(broken_policy(self._next_rollout, "its weights are not finite"))
        folder = Path(self._get_output_dir(trial=trial)) / f"{PREFIX_CHECKPOINT_DIR}-{update}"
        advice = "make room or mend the folder, and resume from the last whole checkpoint"
        with writing(folder, f"the checkpoint of update {update}", advice):
            if self.args.should_save:
                set_aside(folder)  # of a save that was cut short, of an earlier run, or of an abandoned future
            self.accelerator.wait_for_everyone()
            try:
                with temporarily(transformers.trainer, rotate_checkpoints=self._remove_old):
                    super()._save_checkpoint(model, trial)
            except BaseException:
                if self.args.should_save:
                    bring_back(folder)  # a part of a checkpoint takes room and is of no use
                raise
        if self.args.should_save:
            drop_aside(folder)
        self._saved_update = update

    def _remove_old(
        self, output_dir: str, save_total_limit: int | None, best_model_checkpoint: str | None, **_: Any
    ) -> None:
        if self.args.save_only_model:  # these do not say whose they are
            rotate_checkpoints(output_dir, save_total_limit, best_model_checkpoint, use_mtime=False)
        else:
            remove_old(Path(output_dir), self._lineage, save_total_limit, best_model_checkpoint)

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

    def _trainer_state_digest(self) -> str:
        callbacks = [*self.callback_handler.callbacks, self.control]
        exported = {type(each).__name__: each.state() for each in callbacks if isinstance(each, ExportableState)}
        content = asdict(self.state)
        alone = {
            name: state for name, state in exported.items() if isinstance(content["stateful_callbacks"].get(name), dict)
        }
        return trainer_state_digest(content, alone)

    def _state(self, files: dict[str, list[Any]]) -> RunState:
        rollout = self._rollout
        return RunState(
            run=self._run,
            lineage=self._lineage,
            trainer_state=self._trainer_state_digest(),
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
            callbacks=[(type(callback).__name__, checked_state(callback)) for callback in self._stateful_callbacks],
            configuration=self._described,
            next_target=self._next_target(self._next_rollout + (rollout is not None), self.state.max_steps),
        )
