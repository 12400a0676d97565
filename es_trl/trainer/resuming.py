"""Resumes of [`ESGRPOTrainer`]: to the same run, or refused."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from accelerate.utils import is_peft_model
from transformers import PreTrainedModel, TrainerState
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import TrainOutput
from trl import GRPOTrainer
from trl.trainer.utils import RepeatSampler

from ..checkpoints.changes import check_changes, describe_run, prompts_digest, target_at
from ..checkpoints.files import check
from ..checkpoints.lineage import Lineage, fresh, resumed
from ..checkpoints.run_folder import find_start, next_run, write_run
from ..checkpoints.run_state import RunState, load_rollout
from ..checkpoints.weights import load_adapter, load_converted, load_reference, not_loaded, unloaded
from ..common.processes import on_main
from ..control.geometry import Geometry
from ..hub.card import write_recipe
from ..tracking.history import write_loop
from .callbacks import RolloutCallback
from .rollout import OpenRollout


class _NotLoaded(Exception):
    """A load left these parameters as they were, or did not know these keys."""

    def __init__(self, names: list[str]):
        super().__init__(", ".join(names))
        self.names = names


class ResumingMixin(GRPOTrainer):
    """
    What TRL's resumes lack.

    TRL counts rollouts from the resumed update on, samples what a rollout still had to train on anew, replays the
    first epoch's order of prompts in every later one, and loads what it can of the weights. Here the count, the
    rollout's micro-batches on every process and the order go on, and all weights are loaded.
    """

    was_finished: bool = False
    """Whether the last `train()` resumed a run that was finished, and so did nothing but load its end."""

    _prompt_sampler: RepeatSampler | None = None
    _run: int | None = None  # number of the run in its folder
    _lineage: Lineage | None = None  # its sessions, by which its checkpoints are known
    _ended_update: int = 0  # the last update that has ended, and the micro-batches made until then
    _ended_micro_step: int = 0
    _saved_update: int | None = None  # the last one that was saved
    _save_is_due: bool = False
    _has_ended_one: bool = False  # whether an update has ended in this pass over the data
    _is_evaluating: bool = False

    def _begin_saves(self, run: int | None, lineage: Lineage | None) -> None:
        self._run, self._lineage = run, lineage
        self._ended_update = self._ended_micro_step = 0
        self._saved_update, self._save_is_due, self._has_ended_one = None, False, False

    def _read_state(self, checkpoint: str) -> RunState:
        return RunState.load(
            checkpoint, [type(callback).__name__ for callback in self._stateful_callbacks], self._counts
        )

    def _find_start(self, resume: str | bool | None) -> str | None:
        """The checkpoint that the run goes on from, and whether it was finished; refused before anything is loaded."""
        is_main, run_dir = self.accelerator.is_main_process, Path(self.args.output_dir)
        self.was_finished = False
        checkpoint = on_main(is_main, lambda: find_start(resume, run_dir))
        if checkpoint is None:
            return None
        state, max_steps = self._read_state(checkpoint), self._updates_of_run()
        self.was_finished = state.global_step >= max_steps
        if self.was_finished:
            made = f"update {state.global_step} of {max_steps}"
            message = f"the run is finished: {checkpoint} is at {made}, and nothing is trained"
        else:
            coming = state.rollout + (state.record is not None)
            targets = (state.next_target, self._next_target(coming, max_steps))
            allowed = getattr(self.args, "resume_with_changes", False)  # which a plain GRPOConfig has not
            changes = check_changes(state.configuration, self._described, targets, allowed)
            message = "".join(f"\nchanged: {change}" for change in changes)
        if message:
            self.accelerator.print(message.strip(), flush=True)
        return checkpoint

    def _open_folder(self, state: RunState | None) -> tuple[int, Lineage]:
        """The number and the lineage of a run, fresh or resumed from a state, which the folder is told."""

        def tell() -> tuple[int, Lineage]:
            run_dir = Path(self.args.output_dir)
            if state is None:
                opened = next_run(run_dir), fresh()
            else:
                opened = state.run, resumed(state.lineage, state.global_step)
            write_run(run_dir, *opened)
            return opened

        return on_main(self.accelerator.is_main_process, tell)

    def _describe_in_folder(self) -> None:
        """Say in the folder what the run controls with, and its recipe."""
        if not self.accelerator.is_main_process:
            return
        scheduler, method = self.entropy_scheduler, getattr(self.args, "method", None)
        named = {} if method is None else {"method": method}
        write_loop(self.args.output_dir, None if scheduler is None else {**named, **scheduler.loop.describe()})
        write_recipe(self.args.output_dir, self.recipe)

    def _updates_of_run(self) -> int:
        """Updates that the configuration asks for, by `max_steps` or by epochs of the training data."""
        if self.args.max_steps > 0:
            return self.args.max_steps
        return self.set_initial_training_values(self.args, self.get_train_dataloader())[-1]

    def _end_again(self, checkpoint: str) -> TrainOutput:
        """Load the end of a run that is over already; nothing is trained and no file is touched."""
        self.state = TrainerState.load_from_json(str(Path(checkpoint) / TRAINER_STATE_NAME))
        if not self._loads_when_prepared:
            self._load_from_checkpoint(checkpoint)
        super()._prepare_for_training(self._updates_of_run(), self.get_train_dataloader(), checkpoint)
        if self.args.load_best_model_at_end and self.state.best_model_checkpoint is not None:
            self._load_best_model()
        return TrainOutput(self.state.global_step, 0.0, {})

    # --- weights -----------------------------------------------------------------------------------------------------

    @property
    def _loads_when_prepared(self) -> bool:
        """Whether DeepSpeed or FSDP reads the weights, each in a format of its own that is complete."""
        return self.is_deepspeed_enabled or self.is_fsdp_enabled

    def _load_from_checkpoint(self, resume_from_checkpoint, model=None):
        with self._loading_all(Path(resume_from_checkpoint)):
            super()._load_from_checkpoint(resume_from_checkpoint, model)

    def _load_best_model(self):
        best = Path(self.state.best_model_checkpoint)
        damage = on_main(self.accelerator.is_main_process, lambda: check(best).damage)
        if damage is not None:
            raise ValueError(
                f"the best model cannot be loaded from {best} ({damage}): the last checkpoint in {best.parent} holds "
                "the end of the training; set load_best_model_at_end: false to take that"
            )
        with self._loading_all(best):
            super()._load_best_model()

    @contextlib.contextmanager
    def _loading_all(self, checkpoint: Path) -> Iterator[None]:
        """Load what transformers leaves out of a checkpoint with a warning, or refuse it."""
        try:
            yield
        except _NotLoaded as left:
            if not isinstance(self.model, PreTrainedModel):
                raise ValueError(unloaded(checkpoint, left.names)) from None
            load_converted(self.model, checkpoint)
        if is_peft_model(self.model) and not self._loads_when_prepared:
            load_adapter(self.model, checkpoint)

    def _issue_warnings_after_load(self, load_result: Any) -> None:
        if names := not_loaded(self.model, load_result):
            raise _NotLoaded(names)

    # --- the run -----------------------------------------------------------------------------------------------------

    def _init_training_state(self, max_steps, num_update_steps_per_epoch, num_train_epochs, checkpoint, trial):
        trained = super()._init_training_state(
            max_steps, num_update_steps_per_epoch, num_train_epochs, checkpoint, trial
        )
        if checkpoint is None or self._num_prompts is not None:
            return trained
        saved = TrainerState.load_from_json(str(Path(checkpoint) / TRAINER_STATE_NAME))
        return _stream_position(saved, self.args.gradient_accumulation_steps)

    def _prepare_for_training(self, max_steps, train_dataloader, resume_from_checkpoint):
        prepared = super()._prepare_for_training(max_steps, train_dataloader, resume_from_checkpoint)
        if resume_from_checkpoint is not None:
            self._load_run(Path(resume_from_checkpoint))
        return prepared

    def _load_run(self, checkpoint: Path) -> None:
        state = self._read_state(str(checkpoint))
        process, device = self.accelerator.process_index, self.accelerator.device
        self._begin_run(*self._open_folder(state))
        self._step = self._ended_micro_step = state.micro_step  # TRL restarts at 0, which would shift later rollouts
        self._ended_update = self._saved_update = state.global_step
        self._has_ended_one = True
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
            self._buffered_inputs = load_rollout(checkpoint, process, device)
        if self.args.sync_ref_model:
            load_reference(self.ref_model, checkpoint, process)
        if self._prompt_sampler is not None:
            for _ in range(int(self.state.epoch)):  # the sampler draws an order per epoch, and would replay the first
                next(iter(self._prompt_sampler))

    def _get_train_sampler(self, dataset=None):
        self._prompt_sampler = super()._get_train_sampler(dataset)
        return self._prompt_sampler

    # --- what a checkpoint says of the run ---------------------------------------------------------------------------

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

    @property
    def _num_prompts(self) -> int | None:
        """Rows of the training data; `None` for a stream."""
        return len(self.train_dataset) if hasattr(self.train_dataset, "__len__") else None

    @property
    def _described(self) -> dict[str, Any]:
        data = self._num_prompts, prompts_digest(self.train_dataset)
        rewards = list(self.reward_func_names)
        return describe_run(self.args, self.entropy_scheduler, self.curriculum, data, rewards)

    def _next_target(self, rollout: int, max_steps: int) -> float | None:
        loop = None if self.entropy_scheduler is None else self.entropy_scheduler.loop
        return target_at(loop, rollout, Geometry.of(self.args, max_steps=max_steps).rollouts)


def _stream_position(saved: TrainerState, micro_batches_per_update: int) -> tuple[int, int]:
    """Passes over a stream that were finished, and micro-batches of the present one; transformers knows no passes."""
    longest = saved.max_steps * micro_batches_per_update  # what transformers takes for the length of a pass
    passes = int(saved.epoch)
    done = round((saved.epoch - passes) * longest)
    if done == 0 and passes > 0:
        return passes - 1, longest
    return passes, done
