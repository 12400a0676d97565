"""`RolloutTrainer`: a `GRPOTrainer` that measures every rollout and lets callbacks act on the measurement.

Its methods are short overrides of TRL's; the formulas are in other files.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch.utils.data import DataLoader, SequentialSampler
from transformers.trainer import DEFAULT_PROGRESS_CALLBACK
from transformers.trainer_callback import PrinterCallback
from transformers.trainer_utils import EvalLoopOutput

from ..actuators.actuation import Actuation
from ..checkpoints.lineage import Identity
from ..checkpoints.run_state import RunState
from ..common.temporarily import temporarily
from ..control.base import Actuator
from ..control.geometry import Geometry
from ..curriculum.planned import PlannedStage
from ..tracking.completions import Samples, is_sampled, samples_of
from ..tracking.console import Console
from ..tracking.history import History, RolloutRecord
from ..tracking.trackers import tracked
from .arguments import complete
from .callback_list import find_callback
from .callbacks import Curriculum, Decision, EntropyScheduler, RolloutCallback
from .evaluation import Evaluation, count_problems
from .generation import Refill, choice_of, left_out, lengths_of, mask_prompts, unbroken
from .inputs import check_names, check_settings
from .loss import own_rows, scores_of
from .pushing_trainer import PushingTrainer
from .read_once import read_once
from .rollout import OpenRollout
from .sensor import completion_mask, cut_ratios, prompt_index
from .stage_switch import check_engine, follow_stage
from .startup import extent_of, what_begins
from .temperature import sampled_at


class RolloutTrainer(PushingTrainer):
    """
    [`~trl.GRPOTrainer`] whose rollouts are measured, recorded and controlled.

    The arguments are those of [`ESGRPOTrainer`]; `others` holds all after `eval_dataset`, by name.
    """

    def __init__(
        self, model: Any, reward_funcs: Any, args: Any, train_dataset: Any, eval_dataset: Any, others: dict[str, Any]
    ):
        given = complete(model, reward_funcs, args, train_dataset, eval_dataset, others)
        self._first_max_completion_length, self._has_punishment = given.first_length, given.punishes
        self._evaluation: Evaluation | None = None  # the open one
        positional = (model, given.reward_funcs, given.args, given.train_dataset, eval_dataset)
        super().__init__(*positional, callbacks=given.callbacks, **given.others)
        self._choice = choice_of(self, self._num_task_rewards)
        self.history = History(self.args.output_dir, writes=self.accelerator.is_main_process)
        self._console = Console(self.accelerator.is_main_process, has_bar=not self.args.disable_tqdm)
        for each in list(self.callback_handler.callbacks):  # the console takes the place of TRL's own lines
            if type(each) in (PrinterCallback, DEFAULT_PROGRESS_CALLBACK) and each not in given.callbacks:
                self.remove_callback(each)
        self._samples = Samples(self.args.output_dir, writes=self.accelerator.is_main_process)
        if self.entropy_scheduler is not None:
            check_settings(self.entropy_scheduler.loop.actuators, self, self.args)
        self._start_over(Identity())
        if self.use_vllm and self.curriculum is not None:
            check_engine(self.vllm_generation, self.curriculum.prompts.planned)

    def _start_over(self, identity: Identity) -> None:
        """Return to the state before the first rollout, for the run with this `identity`."""
        self._identity = identity
        # TRL would keep these values from an earlier run of the same trainer
        self._step, self._buffered_inputs, self._last_loaded_step = 0, None, -1
        self._announced, self._next_rollout = False, 0
        self._rollout: OpenRollout | None = None
        self._stage: PlannedStage | None = None
        scheduler = self.entropy_scheduler
        actuators = () if scheduler is None else scheduler.loop.actuators
        # an actuator that is no subclass of Actuator only sets attributes of the trainer
        self._actuation = Actuation(tuple(each for each in actuators if isinstance(each, Actuator)))
        if self.curriculum is not None:
            self._enter_stage(self.curriculum.prompts.planned[0])
        if scheduler is not None:
            self._actuate(scheduler.loop.settings)

    def restore(self, state: RunState, rollout: OpenRollout | None, buffered: list[dict[str, Any]] | None) -> None:
        """Restore the position of a run, its open `rollout`, and the `buffered` micro-batches of that rollout."""
        self._step, self._next_rollout = state.micro_step, state.rollout
        self._rollout, self._buffered_inputs = rollout, buffered
        self._metrics["train"].update(state.metrics)
        self._actuate(state.settings)
        if self.curriculum is not None and self.curriculum.prompts.stage is not None:
            self._enter_stage(self.curriculum.prompts.stage)

    @property
    def entropy_scheduler(self) -> EntropyScheduler | None:
        """The [`EntropyScheduler`] of the run, or `None` if entropy is only measured."""
        return find_callback(self.callback_handler.callbacks, EntropyScheduler)

    @property
    def curriculum(self) -> Curriculum | None:
        """The [`Curriculum`] of the run, or `None` if TRL's data loader draws the prompts."""
        return find_callback(self.callback_handler.callbacks, Curriculum)

    @property
    def entropy_target(self) -> float:
        """The target of TRL's adaptive entropy coefficient, nats. It is stored in `args`, where TRL reads it."""
        return self.args.entropy_target

    @entropy_target.setter
    def entropy_target(self, target: float) -> None:
        self.args.entropy_target = target

    @property
    def num_rollouts(self) -> int:
        """The number of rollouts in the run, known once training has begun."""
        return Geometry.of(self.args, max_steps=self.state.max_steps).rollouts

    @property
    def _generate_every(self) -> int:
        """The number of micro-batches from one rollout to the next, as in TRL's `_prepare_inputs`."""
        return self.args.steps_per_generation * self.num_iterations

    @property
    def _num_task_rewards(self) -> int:
        """The number of reward functions without the soft overlong punishment, which is the last one."""
        return len(self.reward_funcs) - int(self._has_punishment)

    @property
    def _prompts(self) -> int:
        """The number of prompts in the present rollout."""
        return Geometry.of(self.args).prompts if self._stage is None else self._stage.prompts

    @property
    def _temperature(self) -> float | None:
        """The temperature of the present stage, or `None` if it is the configuration's."""
        stage = self._stage
        return None if stage is None or stage.temperature == self.args.temperature else stage.temperature

    def get_train_dataloader(self) -> DataLoader:
        """Return TRL's data loader, or with a curriculum one that only counts micro-batches."""
        if self.curriculum is None:
            with temporarily(self, train_dataset=read_once(self.train_dataset, self._generate_every)):
                return super().get_train_dataloader()
        # the curriculum draws the prompts when a rollout begins
        micro_batches = self.args.max_steps * self.args.gradient_accumulation_steps
        if self.args.max_steps <= 0:
            micro_batches = len(self.train_dataset) // Geometry.of(self.args).prompts * self._generate_every
        micro_batch_indices = range(micro_batches * self.accelerator.num_processes)
        return self._get_dataloader(micro_batch_indices, "Training", 1, sampler_fn=SequentialSampler, is_training=True)

    def _ask_callbacks(self, event: str) -> None:
        """Call `on_rollout_begin` or `on_rollout_end` of every rollout callback, and apply each decision."""
        for callback in self.callback_handler.callbacks:
            if isinstance(callback, RolloutCallback):
                ask, record = getattr(callback, event), self._rollout.record()
                decision = ask(self.args, self.state, self.control, record=record, trainer=self)
                if isinstance(decision, Decision):
                    self._apply(decision)
                elif decision not in (None, self.control):  # events of transformers may return the control
                    name = f"{type(callback).__name__}.{event}"
                    raise ValueError(f"{name} must return a Decision or None, got {decision!r}: return one of them")

    def _apply(self, decision: Decision) -> None:
        """Apply the decision of a callback."""
        self._rollout.decided(decision)
        if decision.stage is not None and decision.stage is not self._stage:
            self._enter_stage(decision.stage)
        check_names(decision.settings, self)
        self._actuate(decision.settings if decision.tick is None else {**decision.settings, **decision.tick.settings})
        self._rollout.say(self._console)

    def _enter_stage(self, stage: PlannedStage) -> None:
        self._stage = stage
        follow_stage(self, stage, self._has_punishment)

    def _actuate(self, settings: Mapping[str, float]) -> None:
        """Keep the settings for the loss, and set the attributes of the trainer that they name."""
        self._actuation = replace(self._actuation, settings={**self._actuation.settings, **settings})
        for name, value in settings.items():
            if hasattr(self, name):
                setattr(self, name, value)

    def training_step(
        self, model: torch.nn.Module, inputs: Any, num_items_in_batch: torch.Tensor | int | None = None
    ) -> torch.Tensor:
        """Make the forward and backward passes of one micro-batch, and open and close rollouts around them."""
        if not self._announced:
            self._announced = True
            self._console.say(what_begins(self, self.entropy_scheduler, self.curriculum))
            self._console.begin(extent_of(self), self.state.global_step)
        if self._step % self._generate_every == 0:
            self._begin_rollout()
        loss = super().training_step(model, inputs, num_items_in_batch)
        if self._step % self._generate_every == 0:  # TRL has counted this micro-batch by now
            self._close_rollout()
        return loss

    def _begin_rollout(self) -> None:
        sizes = (self.num_generations, self.max_completion_length)
        self._rollout = OpenRollout(self._next_rollout, self._identity.number, self.state.global_step, *sizes)
        self._ask_callbacks("on_rollout_begin")

    def _draw_rows(self, prompts: int) -> list[dict[str, Any]]:
        """Return this process's rows of the next `prompts` prompts, one row per completion."""
        processes = (self.accelerator.process_index, self.accelerator.num_processes)
        return self.curriculum.prompts.draw(prompts, self.num_generations, processes)

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        if not self.model.training:
            with sampled_at(self, self._temperature and self.args.temperature):  # evaluations compare over the stages
                return super()._generate_and_score_completions(inputs)
        rollout = self._rollout
        rollout.draw(inputs if self.curriculum is None else self._draw_rows(self._prompts), self._prompts)
        with unbroken(rollout.rollout):
            batch = super()._generate_and_score_completions(rollout.rows)
        rollout.scored(self._metrics["train"], "importance_sampling_ratio" in batch)
        if is_sampled(rollout.rollout, self.num_rollouts):  # now, because an evaluation replaces TRL's logs
            self._samples.append(samples_of(rollout.rollout, self.num_generations, self._logs, rollout.lengths))
        # TRL shuffles the rows later, so each row must know its prompt
        batch["prompt_index"] = prompt_index(len(rollout.rows), self.num_generations, self.accelerator)
        masked = left_out(rollout, self._choice, self.args.mask_uniform_prompts, self.num_generations)
        if masked is not None:
            mask_prompts(batch, masked, self.accelerator)
        if self._actuation.needs_scores:
            scores = scores_of(self, batch, rollout.rewards, rollout.rollout, self._num_task_rewards)
            batch.update(own_rows(self._actuation.columns(scores, self.args), len(rollout.rows), self.accelerator))
        if "old_per_token_logps" in batch:
            entropies, clamped = rollout.old_entropies
            cut = cut_ratios(batch, self.args)
            rollout.sensor.add(entropies, completion_mask(batch), batch["prompt_index"], clamped, cut)
            self._end_rollout()
        return batch

    def _generate(self, prompts: list[Any]) -> tuple[Any, ...]:
        if not self.args.chooses_prompts or not self.model.training:
            return super()._generate(prompts)
        draw = partial(self.curriculum.prompts.draw, num_generations=1, processes=(0, 1))  # the same on all processes
        refill = Refill(self, self._choice, draw, super()._generate, super()._calculate_rewards)
        return refill(self._rollout, prompts)

    def _calculate_rewards(
        self, inputs: list[Any], prompts: list[Any], completions: list[Any], completion_ids_list: list[list[int]]
    ) -> torch.Tensor:
        rollout = self._rollout if self.model.training else None
        if rollout is not None:
            rollout.generated(lengths_of(self, completion_ids_list))
        if rollout is not None and rollout.rewards is not None:  # dynamic sampling has computed them already
            return rollout.rewards
        rewards = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)
        if self._evaluation is not None:
            self._evaluation.add(rewards)
        elif rollout is not None:
            rollout.reward_with(rewards)
        return rewards

    def evaluation_loop(
        self, dataloader: DataLoader, *args: Any, metric_key_prefix: str = "eval", **kwargs: Any
    ) -> EvalLoopOutput:
        """Evaluate as `GRPOTrainer.evaluation_loop` does, and add pass@k to the metrics with `eval_pass_at_k`."""
        loop = partial(super().evaluation_loop, dataloader, *args, metric_key_prefix=metric_key_prefix, **kwargs)
        if self.args.eval_pass_at_k is None:
            return loop()
        sizes = (self.num_generations_eval, count_problems(dataloader.dataset), self._num_task_rewards)
        evaluation = Evaluation(self.args.eval_pass_at_k, *sizes)
        with temporarily(self, _evaluation=evaluation):
            output = loop()
        output.metrics.update(evaluation.metrics(metric_key_prefix))
        return output

    def _end_rollout(self) -> None:
        """Measure the rollout, let the callbacks act on it before its first update, and log the record."""
        rollout = self._rollout
        rollout.read(self.accelerator)
        self._ask_callbacks("on_rollout_end")
        if self.state.is_world_process_zero:  # after a resume, only process 0 has the whole history
            rollout.add_alarms(self.history.for_alarms, self.entropy_scheduler, self.args.report_to)
            rollout.say(self._console)
        self._track(rollout.record(), is_closed=False)

    def _close_rollout(self) -> None:
        """Write the record of a rollout after its last backward pass."""
        record = self._rollout.record(is_closed=True)
        self._track(record, is_closed=True)
        self.history.append(record)
        self._rollout.say(self._console)
        self._console.rollout(self.history.records[-1], self.state.global_step, extent_of(self))
        self._next_rollout += 1
        self._rollout = None

    def _track(self, record: RolloutRecord, is_closed: bool) -> None:
        """Add the numbers of a record to TRL's metrics, whose means trackers get at the next log."""
        for name, value in tracked(record, is_closed).items():
            self._metrics["train"][name].append(value)
