"""`UpdateTrainer`: a `RolloutTrainer` whose updates take the time of their tokens.

Its methods are short overrides of TRL's; the cuts and the layouts are in `micro_batches/`.
"""

import contextlib
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from accelerate.utils import DistributedType

from ..actuators.batch import MicroBatch
from ..checkpoints.lineage import Identity
from ..checkpoints.run_state import RunState
from ..common.temporarily import temporarily
from ..micro_batches.plan import Budget, Plan, make_plan, without_plan
from ..micro_batches.prefill import prompts_once
from ..micro_batches.rows import facts, joined, next_shuffle, shuffled_as, trimmed
from .forward import Forward, LogProbs, backbone_of
from .loss import ActuatedLoss, OpenLoss
from .micro_batches import add_gradients, alone, cut, cutting_of, passes_with_graph, unreduced, weighed
from .rollout import OpenRollout
from .rollout_trainer import RolloutTrainer
from .sensor import UpdateSensor
from .update import Update, update_at


# launches in which every process holds the whole model
WHOLE_MODEL = (DistributedType.NO, DistributedType.MULTI_CPU, DistributedType.MULTI_GPU)


class UpdateTrainer(RolloutTrainer):
    """[`RolloutTrainer`] that cuts each update by its tokens. The arguments are the same."""

    def __init__(self, *args: Any):
        self._loss: OpenLoss | None = None  # set only while a loss is computed
        super().__init__(*args)
        self._cutting = cutting_of(self, self._actuation.actuators)

    def _start_over(self, identity: Identity) -> None:
        super()._start_over(identity)
        self._update_sensor = UpdateSensor() if self.args.entropy_sensor == "update" else None

    def training_step(
        self, model: torch.nn.Module, inputs: Any, num_items_in_batch: torch.Tensor | int | None = None
    ) -> torch.Tensor:
        """Make one micro-step, without a backward pass where its loss has no graph."""
        with passes_with_graph(self.accelerator):
            return super().training_step(model, inputs, num_items_in_batch)

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        batch = super()._generate_and_score_completions(inputs)
        if not self.model.training or not self._cutting.layouts:
            return batch
        return shuffled_as(self._with_plan(batch, self._plan_of(batch)), self._rollout.order)

    def _generate_single_turn(self, *args: Any, **kwargs: Any) -> Any:
        # parallelism over the model expects that its parts are called alike on all processes
        is_whole = self.accelerator.distributed_type in WHOLE_MODEL
        if not self.model.training or not is_whole or "shared" not in self._cutting.layouts:
            return super()._generate_single_turn(*args, **kwargs)
        with prompts_once(backbone_of(self.accelerator.unwrap_model(self.model))):
            return super()._generate_single_turn(*args, **kwargs)

    def _plan_of(self, batch: dict[str, Any]) -> Plan:
        """Return the plan of the present rollout, which is made when it is first needed."""
        rollout = self._rollout
        if rollout.plan is None:
            # TRL draws the order after the rewards. It is needed before, so that the first forward pass already has
            # the micro-batches of the updates: otherwise rounding alone would move the ratios of a bf16 model off 1.
            order = next_shuffle(len(batch["prompt_ids"]))
            plan = make_plan(facts(batch), order.argsort(), *self._cut_as(), self.accelerator)
            rollout.plan_with(plan, order)
        return rollout.plan

    def _with_plan(self, batch: dict[str, Any], plan: Plan) -> dict[str, Any]:
        return {**plan.fit(batch), **plan.columns(self.accelerator.process_index, self._mark)}

    @property
    def _mark(self) -> int:
        """A number that tells plans of other settings apart."""
        return self._cutting.mark(self.args, self._parts)

    def restore(self, state: RunState, rollout: OpenRollout | None, buffered: list[dict[str, Any]] | None) -> None:
        """Restore the position of a run. An open rollout is cut anew if the run is continued with other settings."""
        super().restore(state, rollout, buffered)
        if buffered is None or ("mark" in buffered[0] and int(buffered[0]["mark"]) == self._mark):
            return
        rows = joined([without_plan(each) for each in buffered])
        if self._cutting.layouts:
            plan = make_plan(facts(rows), torch.arange(len(rows["advantages"])), *self._cut_as(), self.accelerator)
            rows = self._with_plan(rows, plan)
        self._buffered_inputs = cut(rows, len(buffered))

    def _cut_as(self) -> tuple[int, Budget]:
        """Return how many updates of a rollout are cut, and the budget of their micro-batches."""
        budget = self._cutting.budget(self.args, self.max_completion_length, self._parts)
        return self.args.steps_per_generation // self._cutting.group, budget

    @property
    def _parts(self) -> int:
        """The number of micro-batches into which each of TRL's is cut where it has too many completions."""
        return 1 if self._stage is None else self._stage.parts

    def _forward(self, layout: str | None, clamp: float) -> Forward:
        trl = super()._get_per_token_logps_and_entropies
        multiple_of, checkpoints = self.pad_to_multiple_of or 1, self.args.gradient_checkpointing
        return Forward(trl, self.accelerator, layout, multiple_of, clamp, self._temperature, checkpoints)

    def _get_per_token_logps_and_entropies(
        self,
        model: torch.nn.Module,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        logits_to_keep: int,
        *args: Any,
        compute_entropy: bool = False,
        **others: Any,
    ) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
        if not self.model.training or (self._loss is None and self._rollout is None):
            inputs = (model, input_ids, attention_mask, logits_to_keep, *args)
            return super()._get_per_token_logps_and_entropies(*inputs, compute_entropy=compute_entropy, **others)
        batch = {
            "prompt_ids": input_ids[:, :-logits_to_keep],
            "prompt_mask": attention_mask[:, :-logits_to_keep],
            "completion_ids": input_ids[:, -logits_to_keep:],
            "completion_mask": attention_mask[:, -logits_to_keep:],
        }
        if self._loss is not None:
            found = self._loss.log_probs(model, batch, compute_entropy=True, **others)
            self._loss.actuated.see(found.logps, found.entropies, found.clamped)
            self.epsilon_low, self.epsilon_high = self._loss.actuated.clip  # until the end of this loss
        else:  # TRL scores the rollout with the policy, and with the reference model
            is_policy = model is self.model
            clamp = self._actuation.clamp if is_policy else 0.0
            if self._cutting.layouts:
                plan = self._plan_of(batch)
                found = self._forward(plan.layout, clamp).by_plan(model, batch, plan, compute_entropy=is_policy)
            else:
                found = self._forward(None, clamp)(model, batch, compute_entropy=is_policy, **others)
            if is_policy:
                self._rollout.see(found.entropies, found.clamped)
        # TRL asks for the entropy only where it needs a gradient; the fused head computes it anyway
        return found.logps, found.entropies if compute_entropy else None, found.aux_loss

    def _compute_loss(self, model: torch.nn.Module, inputs: dict[str, Any]) -> torch.Tensor:
        # dr_grpo divides by max_completion_length. That of the first stage is used throughout, so that a switch to
        # longer completions does not change the scale of the loss.
        with temporarily(self, max_completion_length=self._first_max_completion_length):
            if not self.model.training:
                return super()._compute_loss(model, inputs)
            position = self._step % self.args.steps_per_generation
            update = update_at(self._buffered_inputs, position, self._parts, self.accelerator)
            if update is None:  # the backward passes are made in the last micro-step of the update
                return torch.zeros((), device=self.accelerator.device)
            return self._loss_of_update(model, update)

    def _loss_of_update(self, model: torch.nn.Module, update: Update) -> torch.Tensor:
        """Return the loss of an update, after the backward passes of all of its micro-batches but the last."""
        completions = update.usual * self.current_gradient_accumulation_steps
        regroups = update.is_regrouped and not self._cutting.keeps
        metrics = {mode: defaultdict(list) for mode in self._metrics} if regroups else self._metrics
        forward = self._forward(update.layout, self._actuation.clamp)
        compute = partial(forward, prompt_width=update.prompt_width)
        found: list[LogProbs] = []
        earlier = 0.0
        for number, inputs in enumerate(update.computed, start=1):
            is_last = number == len(update.computed)
            with contextlib.nullcontext() if is_last else unreduced(self.accelerator, model):
                own = alone(self.accelerator) if regroups else contextlib.nullcontext()
                weights = weighed(self, len(inputs["advantages"]), update.usual)
                with own, weights, temporarily(self, _metrics=metrics):
                    loss, batch = self._actuated_loss(model, inputs, compute, completions)
                found.append(LogProbs(batch.logps, batch.entropies, batch.clamped).map(torch.Tensor.detach))
                if not self._rollout.is_measured:  # with one update per rollout, TRL computes no old log-probabilities
                    self._rollout.sensor.add(batch.entropies, batch.mask, inputs["prompt_index"], batch.clamped)
                if self._update_sensor is not None:
                    self._update_sensor.add(batch.logps, batch.old_logps, batch.mask)
                if not is_last:
                    add_gradients(self.accelerator, loss)
                    earlier = earlier + loss.detach()
                if not regroups:
                    self._rollout.trained(self._metrics["train"])
        if regroups:
            self._log_metrics(model, update, found, completions)
        self._end_update(batch)
        return loss + earlier

    def _log_metrics(self, model: torch.nn.Module, update: Update, found: list[LogProbs], completions: int) -> None:
        """Let TRL log the metrics of its own micro-batches, from what the policy said in the others."""
        known = update.known(found, self.accelerator)
        for first, inputs in enumerate(update.held):
            inputs = trimmed(inputs)
            rows, width = slice(first * update.usual, (first + 1) * update.usual), inputs["completion_ids"].shape[1]
            own = known.map(lambda column, rows=rows, width=width: column[rows, :width])
            with torch.no_grad():
                self._actuated_loss(model, inputs, lambda *_, own=own, **__: own, completions)
            self._rollout.trained(self._metrics["train"])

    def _actuated_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        log_probs: Callable[..., LogProbs],
        completions: int,
    ) -> tuple[torch.Tensor, MicroBatch]:
        """Return the loss of a micro-batch, and what the actuators received."""
        actuated = ActuatedLoss(self, inputs, self._actuation, completions)
        configured = {"epsilon_low": self.epsilon_low, "epsilon_high": self.epsilon_high}
        with temporarily(self, _loss=OpenLoss(actuated, log_probs), **configured):
            loss = super()._compute_loss(model, actuated.inputs)
        return loss - actuated.bonus(), actuated.batch

    def _end_update(self, batch: MicroBatch) -> None:
        rollout = self._rollout
        if rollout.kept is None:
            rollout.keep(self._actuation.kept(batch))
        if not rollout.is_measured and (self._step + 1) % self._generate_every == 0:
            self._end_rollout()
        if self._update_sensor is not None and self.accelerator.sync_gradients:
            self._measure_update(self._update_sensor)

    def _measure_update(self, sensor: UpdateSensor) -> None:
        """Measure the present policy at the end of an update, and let the entropy loop decide for the next one."""
        entropy, scheduler, rollout, tick = sensor.read(self.accelerator), self.entropy_scheduler, self._rollout, None
        if scheduler is not None:
            tick = scheduler.loop.update(rollout.rollout, self.num_rollouts, entropy, rollout.jump is not None)
            self._actuate(tick.settings)
        rollout.updated(entropy, tick)
