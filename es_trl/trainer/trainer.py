"""`ESGRPOTrainer`: runs with entropy control, which save whole checkpoints and resume from them.

Its methods are short overrides of TRL's; the rules are in other files.
"""

import contextlib
from pathlib import Path
from typing import Any

import torch
import transformers.trainer
from torch.utils.data import Sampler
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, TrainOutput
from transformers.utils import logging

from ..checkpoints.run_folder import only_run
from ..checkpoints.run_state import RunState
from ..checkpoints.save_gate import SaveGate
from ..checkpoints.weights import weights_are_finite
from ..common.temporarily import temporarily
from ..common.writing import writing
from ..config.config import ESGRPOConfig
from ..config.field_checks import check_kernels
from ..control.geometry import Geometry, check_trains
from ..control.loop import broken_policy
from ..curriculum.datasets import check_enough
from ..hub.card import PAPER
from . import checkpoint, resume, save
from .arguments import by_name
from .callback_list import prepare_callbacks
from .description import describe_setup
from .evaluation import aside
from .launch import lost_contact
from .update_trainer import UpdateTrainer


logger = logging.get_logger(__name__)


class ESGRPOTrainer(UpdateTrainer):
    """
    [`~trl.GRPOTrainer`] that holds the policy's entropy to a schedule.

    Source: "Entropy Scheduling in Reinforcement Learning for Large Language Models" (ACL Findings 2026).

    Schedule, controller and actuator come from the `entropy_*` blocks of [`ESGRPOConfig`], or from an
    [`EntropyScheduler`] in `callbacks`. The stages come from its `curriculum` block, or from a [`Curriculum`] in
    `callbacks`. Without any of these, the gradients are those of `GRPOTrainer` up to rounding. With
    `micro_batches: completions` the trained weights are then equal, bit for bit.

    Every rollout is measured. Its record is written to `es_history.jsonl`, and the curves are drawn in
    `es_curves.png`. A run that is resumed from a checkpoint continues exactly as it would have without the stop.

    Args:
        model (`str` or `PreTrainedModel`):
            As in `GRPOTrainer`.
        reward_funcs (reward function, list of reward functions, *optional*):
            As in `GRPOTrainer`.
        args (`ESGRPOConfig`, *optional*):
            The configuration. Without one, the defaults are used, in a folder that is named after the model.
        train_dataset (`Dataset`, `dict[str, Dataset]` or `IterableDataset`, *optional*):
            As in `GRPOTrainer`, or several datasets by name for the stages of a curriculum. The first stage uses
            `"train"` unless its `data` names others. A dataset must have at least the prompts of one rollout.
        eval_dataset (`Dataset`, `dict[str, Dataset]` or `IterableDataset`, *optional*):
            As in `GRPOTrainer`.
        more, kwargs:
            All other arguments of `GRPOTrainer`, by position or by name. Each [`RolloutCallback`] in `callbacks` gets
            the two rollout events.
        recipe (`dict`, *optional*):
            The fields that a recipe set. They are written into the model card and into `es_recipe.yaml`, without
            tokens.

    Raises:
        ValueError: if the arguments cannot work. It is raised before the model loads, except for a vLLM engine that
            is too small.

    Example:

    ```python
    args = ESGRPOConfig("runs/first", method="es", max_steps=800)
    trainer = ESGRPOTrainer("Qwen/Qwen2.5-0.5B", math_reward, args, train_dataset=dataset)
    trainer.train()
    ```
    """

    _tag_names = ["trl", "es-grpo", "entropy-scheduling"]
    _name = "ES-GRPO"
    _paper = PAPER

    def __init__(
        self,
        model: Any,
        reward_funcs: Any = None,
        args: ESGRPOConfig | None = None,
        train_dataset: Any = None,
        eval_dataset: Any = None,
        *more: Any,
        **kwargs: Any,
    ):
        self._recipe: dict[str, Any] | None = kwargs.pop("recipe", None)
        self._was_finished = False
        self._gate = SaveGate()
        self._prompt_sampler: Sampler | None = None
        super().__init__(model, reward_funcs, args, train_dataset, eval_dataset, by_name(more, kwargs))

    @property
    def was_finished(self) -> bool:
        """Whether the last `train()` found a finished run, and so only loaded its last checkpoint."""
        return self._was_finished

    def train(
        self,
        resume_from_checkpoint: str | bool | None = None,
        trial: Any = None,
        ignore_keys_for_eval: list[str] | None = None,
    ) -> TrainOutput:
        """
        Train the model, from the beginning or from a checkpoint.

        Args:
            resume_from_checkpoint (`str` or `bool`, *optional*):
                Folder of a checkpoint, or `True` for the latest whole one in `output_dir`. A finished run is only
                loaded.
            trial, ignore_keys_for_eval (*optional*):
                As in `GRPOTrainer.train`.

        Returns:
            `TrainOutput`: number of updates, mean loss and metrics.

        Raises:
            ValueError: if the run cannot start, if the checkpoint does not fit it, or if the policy breaks.
        """
        check_trains(self.args)
        check_kernels(self.args)
        if self.curriculum is None:
            check_enough(self.train_dataset, Geometry.of(self.args).prompts)
        with only_run(Path(self.args.output_dir), self.accelerator.is_main_process):
            found, self._was_finished = resume.find_start_of(self, resume_from_checkpoint)
            if self._was_finished:
                return self._load_finished_run(found)
            if found is None:
                self._begin_run(None)
            resume.describe_in_folder(self, self._recipe)
            with contextlib.closing(self._console), lost_contact(self):
                output = super().train(found, trial, ignore_keys_for_eval)
                if self._rollout is not None:  # the run ended inside a rollout
                    self._close_rollout()
            if not self._announced:
                raise ValueError(
                    "the training data were too short for one rollout, so nothing was trained: give a stream of at "
                    f"least {Geometry.of(self.args).prompts} prompts"
                )
            with writing(self.args.output_dir, "the model card"):
                self.create_model_card(model_name=Path(self.args.output_dir).name)
            return output

    def _begin_run(self, state: RunState | None) -> None:
        """Begin a new run, or continue that of a checkpoint from its `state`."""
        prepare_callbacks(self.callback_handler.callbacks, self.args)
        self._start_over(resume.open_folder(self, state))
        if state is None:
            self._gate = SaveGate()
            self.history.begin()
            self._samples.begin()

    def _close_rollout(self) -> None:
        self._rollout.tell(self._pushes.take_events())
        super()._close_rollout()

    # --- saves -------------------------------------------------------------------------------------------------------

    def _maybe_log_save_evaluate(self, *args: Any, **kwargs: Any) -> None:
        self._gate.end_update(self.state.global_step, self._step)
        self._console.update(self.state.global_step)
        if self._can_save and self._gate.answer():
            self.control.should_save = True
        super()._maybe_log_save_evaluate(*args, **kwargs)

    def _run_epoch(self, *args: Any, **kwargs: Any) -> None:
        self._gate.begin_epoch()
        if not self._announced:  # the number of updates is known now
            describe_setup(self, self._packages)
        update, micro_step = self.state.global_step, self._step
        super()._run_epoch(*args, **kwargs)
        made = self._step - micro_step
        if self._is_stream and self.state.global_step == update and made > 0 and not self.control.should_training_stop:
            raise ValueError(
                f"the stream is too short for one update: it gave {made} micro-batches but an update takes "
                f"{self.args.gradient_accumulation_steps}; give a longer stream, or lower gradient_accumulation_steps"
            )

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: list[str] | None = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """Evaluate as in `GRPOTrainer`, with pass@k and without a trace in the run if `eval_pass_at_k` is set."""
        with self._gate.evaluating(), aside(self, self._rollout):
            metrics = super().evaluate(eval_dataset, ignore_keys, metric_key_prefix)
        if not isinstance(eval_dataset or self.eval_dataset, dict):  # of several, each has a line of its own
            self._console.evaluation(self.state.global_step, metrics, metric_key_prefix)
        return metrics

    @property
    def _is_stream(self) -> bool:
        """Whether the training data has no length."""
        return not hasattr(self.train_dataset, "__len__")

    @property
    def _can_save(self) -> bool:
        has_just_begun = self._rollout is not None and self._step % self._generate_every == 0
        return self._gate.is_open(self._step, has_just_begun)

    def _save_checkpoint(self, model: torch.nn.Module, trial: Any) -> None:
        update = self.state.global_step
        if not self._can_save:
            logger.warning(f"a save was requested inside update {update + 1}: it will be made at the end of the update")
            self._gate.ask()
            return
        if self._gate.is_saved(update):
            return
        if not weights_are_finite(self.model_wrapped, self.accelerator):
            raise ValueError(broken_policy(self._next_rollout, "its weights are not finite"))
        folder = Path(self._get_output_dir(trial=trial)) / f"{PREFIX_CHECKPOINT_DIR}-{update}"
        rotate = save.rotation(self.args, self._identity.lineage)
        with save.replacing(folder, self), temporarily(transformers.trainer, rotate_checkpoints=rotate):
            super()._save_checkpoint(model, trial)
        self._gate.saved(update)

    def _finalize_training(self, *args: Any, **kwargs: Any) -> TrainOutput:
        if self._gate.is_due:
            update = self.state.global_step + 1
            logger.warning(f"the save inside update {update} was not made: training stopped before the update ended")
        # With a limit of 1, transformers would delete the last checkpoint and keep only the best one. A restart needs
        # the last one to know that the run is finished.
        with temporarily(self.args, save_total_limit=None):
            return super()._finalize_training(*args, **kwargs)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        # The files of the run are written in this hook and the next one, because transformers pushes right after them.
        super()._save_optimizer_and_scheduler(output_dir)
        checkpoint.write_parts(self, Path(output_dir))

    def _save_rng_state(self, output_dir: str) -> None:
        super()._save_rng_state(output_dir)
        checkpoint.write_state(self, Path(output_dir))

    # --- resumes -----------------------------------------------------------------------------------------------------

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: torch.nn.Module | None = None) -> None:
        with resume.loading_all(self, Path(resume_from_checkpoint)):
            super()._load_from_checkpoint(resume_from_checkpoint, model)

    def _load_best_model(self) -> None:
        best = resume.check_best(self)
        with resume.loading_all(self, best):
            super()._load_best_model()

    def _issue_warnings_after_load(self, load_result: Any) -> None:
        resume.check_loaded(self.model, load_result)

    def _init_training_state(
        self,
        max_steps: int,
        num_update_steps_per_epoch: int,
        num_train_epochs: int,
        resume_from_checkpoint: str | None,
        trial: Any,
    ) -> tuple[int, int]:
        trained = super()._init_training_state(
            max_steps, num_update_steps_per_epoch, num_train_epochs, resume_from_checkpoint, trial
        )
        if resume_from_checkpoint is None or not self._is_stream:
            return trained
        return resume.stream_position(Path(resume_from_checkpoint), self.args.gradient_accumulation_steps)

    def _prepare_for_training(self, max_steps: int, train_dataloader: Any, resume_from_checkpoint: str | None) -> Any:
        prepared = super()._prepare_for_training(max_steps, train_dataloader, resume_from_checkpoint)
        if resume_from_checkpoint is not None:
            folder = Path(resume_from_checkpoint)
            state = resume.read_state(self, folder)
            self._begin_run(state)
            self._gate = SaveGate(state.global_step, state.micro_step)
            checkpoint.take_up(self, state, folder, self._prompt_sampler)
        return prepared

    def _get_train_sampler(self, dataset: Any = None) -> Sampler:
        self._prompt_sampler = super()._get_train_sampler(dataset)
        return self._prompt_sampler

    def _load_finished_run(self, found: str) -> TrainOutput:
        """Load the last checkpoint of a finished run, without training and without changing files."""
        self.state = resume.load_trainer_state(Path(found))
        if not resume.loads_when_prepared(self):
            self._load_from_checkpoint(found)
        super()._prepare_for_training(resume.updates_of_run(self), self.get_train_dataloader(), found)
        if self.args.load_best_model_at_end and self.state.best_model_checkpoint is not None:
            self._load_best_model()
        return TrainOutput(self.state.global_step, 0.0, {})
