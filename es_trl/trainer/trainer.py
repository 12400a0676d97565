"""`ESGRPOTrainer`: the seam with TRL, with `prompting.py`, `passes.py`, `checkpointing.py` and `pushing.py`.

Short overrides around `super()`; formulas live in the other files.
"""

from pathlib import Path
from typing import Any

from transformers.trainer_utils import TrainOutput
from trl import GRPOConfig

from ..checkpoints.lineage import Lineage
from ..checkpoints.run_folder import only_run
from ..common.writing import writing
from ..config.field_checks import check_fields, check_kernels
from ..control.geometry import Geometry, check_trains
from ..control.loop import broken_policy
from ..curriculum.datasets import check_dataset, check_enough, check_replaceable, named_datasets
from ..curriculum.dynamic_sampling import DynamicSampling
from ..curriculum.stages import PlannedStage
from ..hub.card import PAPER
from ..hub.push import PushingMixin
from ..hub.repository import prepare_push
from ..rewards.overlong import add_punishment
from ..tracking.history import TRACKED, History, RolloutRecord
from .arguments import by_name, configuration
from .callbacks import Curriculum, EntropyScheduler, RolloutCallback, collect_callbacks, find, prepare_callbacks
from .generation import PromptingMixin
from .inputs import check_inputs, check_settings
from .launch import check_launch, check_sharding, lost_contact
from .loss import PassesMixin
from .rollout import OpenRollout
from .saving import CheckpointingMixin
from .sensor import EntropySensor, completion_mask, cut_ratios, prompt_index
from .stage_switch import check_engine, follow_stage, tell_length
from .startup import report


class ESGRPOTrainer(PushingMixin, CheckpointingMixin, PromptingMixin, PassesMixin):
    """
    [`~trl.GRPOTrainer`] that holds the policy's entropy to a schedule.

    Source: "Entropy Scheduling in Reinforcement Learning for Large Language Models" (ACL Findings 2026).

    The `entropy_*` blocks of [`ESGRPOConfig`], or an [`EntropyScheduler`] among `callbacks`, name schedule, controller
    and actuator; its `curriculum` block, or a [`Curriculum`], the stages. With none of them the weights are those of
    `GRPOTrainer`, bit for bit. Either way every rollout is measured and recorded in `es_history.jsonl`, and drawn in
    `es_curves.png`; and a checkpoint, at whatever update, resumes to the same run.

    Args:
        model (`str` or `PreTrainedModel`), reward_funcs (reward function, list of them, or `None`):
            As in `GRPOTrainer`.
        args (`ESGRPOConfig`, *optional*):
            The configuration; a plain `GRPOConfig` has no `entropy_*` blocks.
        train_dataset (`Dataset`, `dict[str, Dataset]` or `IterableDataset`, *optional*):
            As in `GRPOTrainer`, or several by name for the stages of a curriculum: the first of which is that of
            `"train"` unless it names its own. One that is smaller than a rollout is refused when training begins.
        eval_dataset, more, kwargs:
            Everything else goes to `GRPOTrainer` as it is, by position or by name. Those of its `callbacks` that are
            [`RolloutCallback`] get the two rollout events.

    Raises:
        ValueError: for what cannot work, before the model loads (a vLLM engine that is too small: after it).
    """

    _tag_names = ["trl", "es-grpo", "entropy-scheduling"]
    _name = "ES-GRPO"
    _paper = PAPER

    def __init__(
        self,
        model: Any,
        reward_funcs: Any = None,
        args: GRPOConfig | None = None,
        train_dataset: Any = None,
        eval_dataset: Any = None,
        *more: Any,
        **kwargs: Any,
    ):
        kwargs = by_name(more, kwargs)
        args = configuration(args, model)
        check_launch(args)
        check_fields(args)
        callbacks = collect_callbacks(args, kwargs.pop("callbacks", None) or [])
        curriculum = find(callbacks, Curriculum)
        has_environment = bool(kwargs.get("environment_factory"))
        if curriculum is not None:
            curriculum.datasets = named_datasets(train_dataset, has_environment)
        prepare_callbacks(callbacks, args)
        sizes = [(args.max_completion_length, getattr(args, "overlong_cache", 0))]
        tries = getattr(args, "dynamic_sampling_tries", 0)
        if curriculum is None:
            check_dataset(train_dataset, has_environment)
        else:
            sizes = [(stage.max_completion_length, stage.overlong_cache) for stage in curriculum.planned]
            train_dataset = curriculum.datasets[next(iter(curriculum.planned[0].data))]
            if tries:
                check_replaceable(curriculum.datasets, kwargs)
        reward_funcs, args, self.overlong_punishment = add_punishment(reward_funcs, args, kwargs, sizes)
        self._loss_length = sizes[0][0]
        self.entropy_bonus = 0.0  # signed coefficient of the token-mean entropy; what `entropy_bonus` moves
        vars(args).update(prepare_push(args))
        check_inputs(model, reward_funcs, args, (train_dataset, eval_dataset), kwargs)
        super().__init__(model, reward_funcs, args, train_dataset, eval_dataset, callbacks=callbacks, **kwargs)
        if tries:
            by_function = self.multi_objective_aggregation == "normalize_then_sum"
            self._dynamic_sampling = DynamicSampling(tries, self.reward_weights, by_function, self.accelerator)
        self.history = History(self.args.output_dir, writes=self.accelerator.is_main_process)
        if self.entropy_scheduler is not None:
            check_settings(self.entropy_scheduler.loop.chain.actuators, self, self.args)
        self._begin_run()
        if self.use_vllm and curriculum is not None:
            check_engine(self.vllm_generation, curriculum.planned)

    # --- the run -----------------------------------------------------------------------------------------------------

    def _begin_run(self, run: int | None = None, lineage: Lineage | None = None) -> None:
        """Start afresh, as a run of the folder that is known by its number and its lineage."""
        self._begin_saves(run, lineage)
        # TRL keeps these from an earlier run of the same trainer
        self._step, self._buffered_inputs, self._last_loaded_step = 0, None, -1
        self._announced, self._next_rollout = False, 0
        self._rollout: OpenRollout | None = None
        self._settings: dict[str, float] = {}
        self._rewards = self._scored = None
        self._passes, self._pass = 1, 0  # backward passes for each of TRL's micro-batches, and the present one
        prepare_callbacks(self.callback_handler.callbacks, self.args)
        tell_length(self.reward_funcs, self.args.max_completion_length)
        if self.curriculum is not None:
            self.apply_stage(self.curriculum.planned[0])
        if self.entropy_scheduler is not None:
            self.apply_settings(self.entropy_scheduler.loop.settings)

    @property
    def _rollout_callbacks(self) -> list[RolloutCallback]:
        return [callback for callback in self.callback_handler.callbacks if isinstance(callback, RolloutCallback)]

    @property
    def entropy_scheduler(self) -> EntropyScheduler | None:
        """The scheduler among the callbacks, or `None` where entropy is only measured."""
        return find(self.callback_handler.callbacks, EntropyScheduler)

    @property
    def entropy_target(self) -> float:
        """What TRL's adaptive entropy coefficient aims at, nats; TRL reads it from its arguments."""
        return self.args.entropy_target

    @entropy_target.setter
    def entropy_target(self, target: float) -> None:
        self.args.entropy_target = target

    @property
    def curriculum(self) -> Curriculum | None:
        """The curriculum among the callbacks, or `None` where TRL's data loader gives the prompts."""
        return find(self.callback_handler.callbacks, Curriculum)

    def apply_settings(self, settings: dict[str, float]) -> None:
        """Set the trainer attributes that an actuator moves; they are restored on resume."""
        self._settings = {**self._settings, **settings}
        for attribute, value in settings.items():
            setattr(self, attribute, value)

    def apply_stage(self, stage: PlannedStage) -> None:
        """Take up the sizes of a stage of the curriculum."""
        self._passes = stage.passes
        follow_stage(self, stage)

    def train(
        self,
        resume_from_checkpoint: str | bool | None = None,
        trial: Any = None,
        ignore_keys_for_eval: list[str] | None = None,
    ) -> TrainOutput:
        check_trains(self.args)
        check_kernels(self.args)
        if self.curriculum is None:
            check_enough(self.train_dataset, Geometry.of(self.args).prompts)
        with only_run(Path(self.args.output_dir), self.accelerator.is_main_process):
            checkpoint = self._find_start(resume_from_checkpoint)
            if self.was_finished:
                return self._end_again(checkpoint)
            if checkpoint is None:
                self._begin_run(*self._open_folder(None))
                self.history.begin()
            self._describe_in_folder()
            with lost_contact(self):
                output = super().train(checkpoint, trial, ignore_keys_for_eval)
            if not self._announced:
                raise ValueError(
                    "the training data gave no rollout, so nothing was trained: give a stream at least the "
                    f"{Geometry.of(self.args).prompts} prompts of one rollout"
                )
            if self._rollout is not None:  # the run ended inside a rollout
                self._close_rollout()
            with writing(self.args.output_dir, "the model card"):
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

    @property
    def _prompts(self) -> int:
        """Prompts of the present rollout."""
        return Geometry.of(self.args).prompts if self.curriculum is None else self.curriculum.stage.prompts

    # --- the rollout -------------------------------------------------------------------------------------------------

    def training_step(self, model, inputs, num_items_in_batch=None):
        if not self._announced:
            self._announce()
        if self._step % self._generate_every == 0:
            self._begin_rollout()
        loss = super().training_step(model, inputs, num_items_in_batch)
        if self._step % self._generate_every == 0:  # TRL has counted it
            self._close_rollout()
        return loss

    @property
    def _is_last_micro_batch(self) -> bool:
        return (self._step + 1) % self._generate_every == 0

    def _announce(self) -> None:
        """Say what begins, or refuse what is not spread over the processes as it was launched to be."""
        spread = check_sharding(self)
        if self.accelerator.is_main_process:
            geometry = Geometry.of(self.args, max_steps=self.state.max_steps)
            print(report(self.args, geometry, self.entropy_scheduler, self.curriculum), spread, sep="\n", flush=True)
        self._announced = True

    def _begin_rollout(self) -> None:
        record = RolloutRecord(
            rollout=self._next_rollout,
            run=self._run,
            global_step=self.state.global_step,
            num_generations=self.num_generations,
            max_completion_length=self.max_completion_length,
        )
        self._rollout = OpenRollout(record)
        for callback in self._rollout_callbacks:
            callback.on_rollout_begin(self.args, self.state, self.control, record=record, trainer=self)
        self._rollout.sensor = EntropySensor(self._prompts)

    def _generate_and_score_completions(self, inputs):
        if not self.model.training:
            return super()._generate_and_score_completions(inputs)
        rollout = self._rollout
        self._rows = inputs if self.curriculum is None else self._draw_rows(self._prompts)
        try:
            batch = super()._generate_and_score_completions(self._rows)
        except RuntimeError as error:
            if "probability tensor contains" not in str(error):  # torch's words where it cannot sample
                raise
            raise ValueError(broken_policy(self._next_rollout, "no token can be sampled from it")) from error
        record, metrics = rollout.record, self._metrics["train"]
        record.reward, record.completion_tokens = metrics["reward"][-1], metrics["completions/mean_length"][-1]
        if "importance_sampling_ratio" in batch:
            record.logp_difference = metrics["sampling/sampling_logp_difference/mean"][-1]
        # TRL shuffles rows
        batch["prompt_index"] = prompt_index(len(self._rows), self.num_generations, self.accelerator)
        if self._dynamic_sampling is not None:
            self._mask_uniform(batch)
        self._add_columns(batch)
        passes, rollout.no_grad_passes = rollout.no_grad_passes, []
        for logps, entropies, clamped in passes:
            if logps is batch.get("old_per_token_logps"):
                cut = cut_ratios(batch, self.args)
                rollout.sensor.add(entropies, completion_mask(batch), batch["prompt_index"], clamped, cut)
                self._end_rollout()
        return batch

    def _end_rollout(self) -> None:
        """The rollout is measured: let the callbacks act before its first update, and log what they did."""
        record = self._rollout.record
        reading = self._rollout.sensor.read(self.accelerator)
        if reading is not None:
            record.entropy, record.entropy_se = reading.mean, reading.standard_error
            record.clamped_entropy, record.truncated = reading.clamped, reading.truncated
        self._rollout.measured = True
        for callback in self._rollout_callbacks:
            callback.on_rollout_end(self.args, self.state, self.control, record=record, trainer=self)
        for field in TRACKED:
            if (value := getattr(record, field)) is not None:
                self._metrics["train"][f"es/{field}"].append(float(value))

    def _close_rollout(self) -> None:
        """The rollout is used up: its record is complete."""
        if (kept := self._rollout.record.kept) is not None:
            self._metrics["train"]["es/kept"].append(kept)
        self._tell_pushes(self._rollout.record)
        self.history.append(self._rollout.close())
        self._next_rollout += 1
        self._rollout = None
