"""`ESGRPOTrainer`: the seam with TRL. Short overrides around `super()`; formulas live in the other files."""

import json
import shutil
import textwrap
import time
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback
from trl import GRPOConfig, GRPOTrainer
from trl.trainer.utils import RepeatSampler

from .callbacks import EntropyScheduler, RolloutCallback, prepare_callbacks
from .card import append_run_section
from .config import ESGRPOConfig
from .control import broken_policy
from .data import check_dataset
from .geometry import Geometry
from .history import LOOP_FILE, History, RolloutRecord, write_atomically
from .report import report
from .sensor import EntropySensor, completion_mask, prompt_index
from .state import RunState, weights_are_finite


class ESGRPOTrainer(GRPOTrainer):
    """
    [`~trl.GRPOTrainer`] that holds the policy's entropy to a schedule.

    Source: "Entropy Scheduling in Reinforcement Learning for Large Language Models" (ACL Findings 2026).

    The `entropy_*` blocks of [`ESGRPOConfig`], or an [`EntropyScheduler`] among `callbacks`, name schedule, controller
    and actuator. With none of them the weights are those of `GRPOTrainer`, bit for bit. Either way every rollout is
    measured and recorded in `es_history.jsonl`, and drawn in `es_curves.png`.

    Args:
        model (`str` or `PreTrainedModel`):
            As in `GRPOTrainer`.
        reward_funcs (reward function, list of them, or `None`):
            As in `GRPOTrainer`.
        args (`ESGRPOConfig`, *optional*):
            The configuration; a plain `GRPOConfig` has no `entropy_*` blocks.
        train_dataset (`Dataset` or `IterableDataset`, *optional*):
            As in `GRPOTrainer`; an empty one, or one smaller than a rollout, is refused.
        callbacks (list of `TrainerCallback`, *optional*):
            As in `GRPOTrainer`; those that are [`RolloutCallback`] get the two rollout events.
        eval_dataset, kwargs:
            Everything else goes to `GRPOTrainer` as it is.

    Raises:
        ValueError: for what cannot work, before the model loads.
    """

    _tag_names = ["trl", "es-grpo", "entropy-scheduling"]
    _name = "ES-GRPO"
    _paper = {
        "title": "Entropy Scheduling in Reinforcement Learning for Large Language Models",
        "citation": textwrap.dedent("""\
            @inproceedings{wang2026entropy,
                title        = {{Entropy Scheduling in Reinforcement Learning for Large Language Models}},
                author       = {Xingjin Wang and Howe Tissue and Lu Wang and Linjing Li and Daniel Dajun Zeng},
                year         = 2026,
                booktitle    = {Findings of the Association for Computational Linguistics: ACL 2026},
            }"""),
    }

    def __init__(
        self,
        model: Any,
        reward_funcs: Any = None,
        args: GRPOConfig | None = None,
        train_dataset: Any = None,
        eval_dataset: Any = None,
        *,
        callbacks: list[TrainerCallback] | None = None,
        **kwargs: Any,
    ):
        args = ESGRPOConfig("es-grpo") if args is None else args
        callbacks = [callback() if isinstance(callback, type) else callback for callback in callbacks or []]
        parts = args.build_parts() if isinstance(args, ESGRPOConfig) else None
        if parts is not None:
            callbacks.insert(0, EntropyScheduler(*parts))
        prepare_callbacks([callback for callback in callbacks if isinstance(callback, RolloutCallback)], args)
        check_dataset(train_dataset, Geometry.of(args).prompts)
        self.entropy_bonus = 0.0  # signed coefficient of the token-mean entropy; what `entropy_bonus` moves
        self._prompt_sampler: RepeatSampler | None = None
        super().__init__(model, reward_funcs, args, train_dataset, eval_dataset, callbacks=callbacks, **kwargs)
        self.history = History(self.args.output_dir, writes=self.accelerator.is_main_process)
        self._begin_run()

    # --- the run -----------------------------------------------------------------------------------------------------

    def _begin_run(self) -> None:
        self._step, self._buffered_inputs = 0, None  # TRL keeps both from an earlier run of the same trainer
        self._announced = False
        self._rollout_started = time.perf_counter()
        self._next_rollout = 0
        self._record: RolloutRecord | None = None  # the rollout under way
        self._measured = False
        self._settings: dict[str, float] = {}
        self._clip_fractions: list[float] = []
        self._no_grad_passes: list[tuple[torch.Tensor, torch.Tensor]] = []
        self._loss_entropies: torch.Tensor | None = None
        prepare_callbacks(self._rollout_callbacks, self.args)
        if self.entropy_scheduler is not None:
            self.apply_settings(self.entropy_scheduler.loop.settings)

    @property
    def _rollout_callbacks(self) -> list[RolloutCallback]:
        return [callback for callback in self.callback_handler.callbacks if isinstance(callback, RolloutCallback)]

    @property
    def entropy_scheduler(self) -> EntropyScheduler | None:
        """The scheduler among the callbacks, or `None` where entropy is only measured."""
        return next((c for c in self._rollout_callbacks if isinstance(c, EntropyScheduler)), None)

    def apply_settings(self, settings: dict[str, float]) -> None:
        """Set the trainer attributes that an actuator moves; they are restored on resume."""
        self._settings = {**self._settings, **settings}
        for attribute, value in settings.items():
            setattr(self, attribute, value)

    def train(self, resume_from_checkpoint: str | bool | None = None, **kwargs: Any) -> Any:
        if not resume_from_checkpoint:
            self._begin_run()
            self.history.begin()
        if self.accelerator.is_main_process:
            path = Path(self.args.output_dir) / LOOP_FILE
            if self.entropy_scheduler is None:
                path.unlink(missing_ok=True)  # of an earlier run in the same folder
            else:
                write_atomically(path, json.dumps(self.entropy_scheduler.loop.describe(), indent=2) + "\n")
        output = super().train(resume_from_checkpoint, **kwargs)
        if self._record is not None:  # the run ended inside a rollout
            self._close_rollout()
        self.create_model_card(model_name=Path(self.args.output_dir).name)
        return output

    @property
    def num_rollouts(self) -> int:
        """Rollouts in the run; known once training has begun."""
        return Geometry.of(self.args, max_steps=self.state.max_steps).rollouts

    @property
    def _generate_every(self) -> int:
        """Micro-batches from one rollout to the next, as in TRL's `_prepare_inputs`."""
        return self.args.steps_per_generation * self.num_iterations

    # --- the rollout -------------------------------------------------------------------------------------------------

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        resumes_inside_rollout = self._record is not None
        if not self.model.training or resumes_inside_rollout:
            return super()._generate_and_score_completions(inputs)
        self._begin_rollout()
        try:
            batch = super()._generate_and_score_completions(inputs)
        except RuntimeError as error:
            if "probability tensor contains" not in str(error):  # torch's words where it cannot sample
                raise
            raise ValueError(broken_policy(self._next_rollout, "no token can be sampled from it")) from error
        self._record.reward = self._metrics["train"]["reward"][-1]
        self._record.completion_tokens = self._metrics["train"]["completions/mean_length"][-1]
        batch["prompt_index"] = prompt_index(len(inputs), self.num_generations, self.accelerator)  # TRL shuffles rows
        passes, self._no_grad_passes = self._no_grad_passes, []
        for logps, entropies in passes:
            if logps is batch.get("old_per_token_logps"):
                self._sensor.add(entropies, completion_mask(batch), batch["prompt_index"])
                self._end_rollout()
        return batch

    def _begin_rollout(self) -> None:
        if not self._announced and self.accelerator.is_main_process:
            loop = self.entropy_scheduler.loop if self.entropy_scheduler else None
            print(report(self.args, Geometry.of(self.args, max_steps=self.state.max_steps), loop), flush=True)
        self._announced = True
        self._rollout_started = time.perf_counter()
        self._measured = False
        self._sensor = EntropySensor(Geometry.of(self.args).prompts)
        self._record = RolloutRecord(
            rollout=self._next_rollout,
            global_step=self.state.global_step,
            num_generations=self.num_generations,
            max_completion_length=self.max_completion_length,
        )
        for callback in self._rollout_callbacks:
            callback.on_rollout_begin(self.args, self.state, self.control, record=self._record, trainer=self)

    def _end_rollout(self) -> None:
        """The rollout is measured: let the callbacks act before its first update, and log what they did."""
        reading = self._sensor.read(self.accelerator)
        if reading is not None:
            self._record.entropy, self._record.entropy_se = reading.mean, reading.standard_error
        self._measured = True
        for callback in self._rollout_callbacks:
            callback.on_rollout_end(self.args, self.state, self.control, record=self._record, trainer=self)
        for field in ("target", "entropy", "entropy_se", "error", "control", "saturated"):
            if (value := getattr(self._record, field)) is not None:
                self._metrics["train"][f"es/{field}"].append(float(value))

    def _close_rollout(self) -> None:
        """The rollout is used up: its record is complete."""
        if self._clip_fractions:
            self._record.clip_high_fraction = sum(self._clip_fractions) / len(self._clip_fractions)
        self._record.seconds = time.perf_counter() - self._rollout_started
        self.history.append(self._record)
        self._next_rollout += 1
        self._record = None
        self._clip_fractions = []

    # --- the passes --------------------------------------------------------------------------------------------------

    def _get_per_token_logps_and_entropies(self, model, *args, compute_entropy=False, **kwargs):
        # The fused head has the entropy in every pass of the policy; TRL drops it where no gradient is needed.
        measures = model is self.model and self.model.training and not torch.is_grad_enabled()
        logps, entropies, aux_loss = super()._get_per_token_logps_and_entropies(
            model, *args, compute_entropy=compute_entropy or measures, **kwargs
        )
        if measures and self._record is not None and not self._measured:
            self._no_grad_passes.append((logps, entropies))
        elif compute_entropy:
            self._loss_entropies = entropies
        return logps, entropies if compute_entropy else None, aux_loss

    def _compute_loss(self, model, inputs):
        loss = super()._compute_loss(model, inputs)
        entropies, self._loss_entropies = self._loss_entropies, None
        if not self.model.training:
            return loss
        mask = completion_mask(inputs)
        if self.entropy_bonus != 0.0:
            # TRL's token count spans the rollout: a token weighs the same in every micro-batch and on every process.
            updates = self.args.steps_per_generation / self.current_gradient_accumulation_steps
            tokens = inputs["num_items_in_batch"].clamp(min=1.0) / self.accelerator.num_processes / updates
            loss = loss - self.entropy_bonus * (entropies * mask).sum() / tokens
        for name in ("clip_ratio/high_mean", "cispo_clip_ratio"):
            if name in self._metrics["train"]:
                self._clip_fractions.append(self._metrics["train"][name][-1])
        if not self._measured:  # TRL made no pass before the first update: measure in the only one
            self._sensor.add(entropies, mask, inputs["prompt_index"])
            if self._is_last_micro_batch:
                self._end_rollout()
        return loss

    @property
    def _is_last_micro_batch(self) -> bool:
        return (self._step + 1) % self._generate_every == 0

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        is_last = self._is_last_micro_batch
        loss = super().training_step(*args, **kwargs)
        if is_last:
            self._close_rollout()
        return loss

    # --- checkpoints -------------------------------------------------------------------------------------------------

    def _get_train_sampler(self, dataset=None):
        self._prompt_sampler = super()._get_train_sampler(dataset)
        return self._prompt_sampler

    def _save_checkpoint(self, model, trial):
        if self.entropy_scheduler is not None and not weights_are_finite(self.model_wrapped, self.accelerator):
            raise ValueError(broken_policy(self._next_rollout, "its weights are not finite"))
        super()._save_checkpoint(model, trial)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        # The one hook of a checkpoint that comes before its push to the Hub.
        super()._save_optimizer_and_scheduler(output_dir)
        if self.args.should_save:
            callbacks = [(type(callback).__name__, callback.state_dict()) for callback in self._rollout_callbacks]
            RunState(self._step, self._next_rollout, self._record, self._settings, callbacks).save(output_dir)
            shutil.copy(self.history.path, output_dir)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is not None:
            self._load_run(Path(checkpoint))

    def _load_run(self, checkpoint: Path) -> None:
        state = RunState.load(checkpoint, [type(callback).__name__ for callback in self._rollout_callbacks])
        self._begin_run()
        self._step = state.micro_step  # TRL restarts it at 0, which would shift every later rollout
        self._next_rollout = state.rollout
        self._record = state.record
        self._measured = state.record is not None
        self.history.begin(checkpoint / self.history.path.name, keep=state.rollout)
        for callback, (_, callback_state) in zip(self._rollout_callbacks, state.callbacks, strict=True):
            callback.load_state_dict(callback_state)
        self.apply_settings(state.settings)
        if self._prompt_sampler is None:
            return
        for _ in range(int(self.state.epoch)):  # TRL's sampler draws an order an epoch, and would replay the first
            next(iter(self._prompt_sampler))

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        super().create_model_card(*args, **kwargs)
        if self.is_world_process_zero():
            append_run_section(Path(self.args.output_dir))
