"""Checkpoints of [`ESGRPOTrainer`]: at whatever update, whole or not taken for whole, and resumed to the same run."""

import shutil
from pathlib import Path

from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR
from trl import GRPOTrainer
from trl.trainer.utils import RepeatSampler

from .callbacks import RolloutCallback
from .control import broken_policy
from .rollout import OpenRollout
from .state import RunState, files_of, load_rollout, save_rollout, weights_are_finite


class CheckpointingMixin(GRPOTrainer):
    """
    What TRL's checkpoints lack.

    TRL counts rollouts from the resumed update on, samples what a rollout still had to train on anew, and replays the
    first epoch's order of prompts in every later one. Here the count, the rollout's micro-batches on every process and
    the order go on. `es_state.json` lists the files of a checkpoint when every process is done with its own, and
    `trainer_state.json` is written last: what has both, and all that is listed, is whole.
    """

    _prompt_sampler: RepeatSampler | None = None

    def _save_checkpoint(self, model, trial):
        if not weights_are_finite(self.model_wrapped, self.accelerator):
            raise ValueError(broken_policy(self._next_rollout, "its weights are not finite"))
        folder = Path(self._get_output_dir(trial=trial)) / f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
        if self.args.should_save and folder.exists():  # of a save that was cut short, or of an earlier run
            (folder / TRAINER_STATE_NAME).unlink(missing_ok=True)  # first: what is half deleted is not whole
            shutil.rmtree(folder)
        self.accelerator.wait_for_everyone()
        super()._save_checkpoint(model, trial)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        # Here and in the next hook, because both come before the push to the Hub.
        super()._save_optimizer_and_scheduler(output_dir)
        if self._rollout is not None:
            Path(output_dir).mkdir(parents=True, exist_ok=True)
            save_rollout(Path(output_dir), self.accelerator.process_index, self._buffered_inputs)
        if self.args.should_save:
            shutil.copy(self.history.path, output_dir)

    def _save_rng_state(self, output_dir: str) -> None:
        super()._save_rng_state(output_dir)
        self.accelerator.wait_for_everyone()  # es_state.json lists the files of every process
        if self.args.should_save:
            self._state(files_of(Path(output_dir))).save(output_dir)

    def _state(self, files: list[str]) -> RunState:
        rollout = self._rollout
        return RunState(
            files=files,
            geometry=self._counts,
            micro_step=self._step,
            rollout=self._next_rollout,
            record=None if rollout is None else rollout.record,
            clip_fractions=[] if rollout is None else rollout.clip_fractions,
            seconds=0.0 if rollout is None else rollout.seconds,
            settings={**self._settings, **self._adaptive_coefficient},
            metrics=dict(self._metrics["train"]),
            callbacks=[(type(callback).__name__, callback.state_dict()) for callback in self._stateful_callbacks],
        )

    @property
    def _stateful_callbacks(self) -> list[RolloutCallback]:
        return [callback for callback in self._rollout_callbacks if callback.keeps_state]

    @property
    def _adaptive_coefficient(self) -> dict[str, float]:
        """The state of TRL's own controller, which TRL writes only after the file that says a checkpoint is whole."""
        names = ("entropy_coef", "_last_world_entropy") if self.use_adaptive_entropy else ()
        return {name: getattr(self, name) for name in names}

    @property
    def _counts(self) -> dict[str, int]:
        names = ("per_device_train_batch_size", "gradient_accumulation_steps", "steps_per_generation", "num_iterations")
        counts = {name: getattr(self.args, name) for name in (*names, "num_generations")}
        return {"num_processes": self.accelerator.num_processes, **counts}

    def _read_state(self, checkpoint: str) -> RunState:
        return RunState.load(
            checkpoint, [type(callback).__name__ for callback in self._stateful_callbacks], self._counts
        )

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is not None:
            self._load_run(Path(checkpoint))

    def _load_run(self, checkpoint: Path) -> None:
        state = self._read_state(str(checkpoint))
        self._begin_run()
        self._step = state.micro_step  # TRL restarts it at 0, which would shift every later rollout
        self._next_rollout = state.rollout
        self.history.begin(checkpoint / self.history.path.name, keep=state.rollout)
        for callback, (_, callback_state) in zip(self._stateful_callbacks, state.callbacks, strict=True):
            callback.load_state_dict(callback_state)
        self.apply_settings(state.settings)
        self._metrics["train"].update(state.metrics)
        if self.curriculum is not None and self.curriculum.stage is not None:
            self.apply_stage(self.curriculum.stage)
        if state.record is not None:
            self._rollout = OpenRollout(state.record, None, True, state.clip_fractions, state.seconds)
            self._buffered_inputs = load_rollout(checkpoint, self.accelerator.process_index, self.accelerator.device)
        if self._prompt_sampler is None:
            return
        for _ in range(int(self.state.epoch)):  # TRL's sampler draws an order an epoch, and would replay the first
            next(iter(self._prompt_sampler))

    def _get_train_sampler(self, dataset=None):
        self._prompt_sampler = super()._get_train_sampler(dataset)
        return self._prompt_sampler
