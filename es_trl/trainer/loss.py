"""Passes of [`ESGRPOTrainer`]: as many as a stage needs, measured on the way, with what the actuators make of them."""

import logging
from typing import Any

import torch
from transformers import Trainer
from trl import GRPOTrainer

from ..actuators.actuation import Actuation
from ..actuators.batch import MicroBatch, Scores
from ..actuators.clamped_head import ClampedHead
from ..common.temporarily import temporarily
from ..control.base import Actuator
from ..curriculum.dynamic_sampling import weighted_sums
from ..rewards.overlong import SoftOverlongPunishment
from .micro_batches import counted, cut, more_to_come
from .sensor import completion_mask


logger = logging.getLogger(__name__)


class PassesMixin(GRPOTrainer):
    """
    What the model is run on: each of TRL's micro-batches in one or more passes, whose entropies the sensor reads.

    TRL's loss asks for the policy's log-probabilities before it reads the advantages, so that actuators, which may need
    the former, set the latter in between.
    """

    _loss_inputs: dict[str, Any] | None = None  # of the loss that is being computed
    _micro_batch: MicroBatch | None = None

    @property
    def _actuation(self) -> Actuation:
        scheduler = self.entropy_scheduler
        actuators = [] if scheduler is None else scheduler.loop.chain.actuators
        return Actuation(tuple(one for one in actuators if isinstance(one, Actuator)), self._settings)

    def _add_columns(self, batch: dict[str, Any]) -> None:
        """Let the actuators add to the batch of a rollout what they need of its scores."""
        actuation = self._actuation
        if not actuation.actuators:
            return
        own = torch.stack([batch["advantages"].float(), completion_mask(batch).sum(dim=1).float()], dim=1)
        advantages, tokens = self.accelerator.gather(own).unbind(dim=1)
        answers = [not isinstance(function, SoftOverlongPunishment) for function in self.reward_funcs]
        scores = Scores(
            advantages=advantages,
            rewards=weighted_sums(self._scored, self.reward_weights).squeeze(1),
            answers=weighted_sums(self._scored[:, answers], self.reward_weights[answers]).squeeze(1),
            tokens=tokens,
            num_generations=self.num_generations,
            token_mean=self.loss_type in ("bnpo", "cispo", "dapo", "vespo"),
            rollout=self._next_rollout,
        )
        first = self.accelerator.process_index * len(own)
        columns = actuation.columns(scores, self.args)
        batch.update({name: column[first : first + len(own)] for name, column in columns.items()})

    def training_step(self, model, inputs, num_items_in_batch=None):
        earlier, self._pass = 0.0, 0
        while self._pass < self._passes - 1:
            with more_to_come(self.accelerator, model):
                earlier = earlier + Trainer.training_step(self, model, inputs, num_items_in_batch)
            self._pass += 1
        return super().training_step(model, inputs, num_items_in_batch) + earlier

    def _prepare_inputs(self, generation_batch):
        if not self.model.training or self._passes == 1:
            return super()._prepare_inputs(generation_batch)
        if self._pass == 0:
            self._parts = cut(super()._prepare_inputs(generation_batch), self._passes)
        return self._parts[self._pass]

    def _get_per_token_logps_and_entropies(self, model, *args, compute_entropy=False, **kwargs):
        # The fused head has the entropy in every pass of the policy; TRL drops it where no gradient is needed.
        measures = model is self.model and self.model.training and not torch.is_grad_enabled()
        trains = self._loss_inputs is not None
        clamp = self._actuation.clamp if measures or trains else 0.0
        head = ClampedHead(model, clamp) if clamp > 0.0 else None
        logps, entropies, aux_loss = super()._get_per_token_logps_and_entropies(
            model if head is None else head, *args, compute_entropy=compute_entropy or measures, **kwargs
        )
        clamped = None if head is None else head.entropies(logps.shape[1])
        if trains:
            self._micro_batch = self._look_at(self._loss_inputs, logps, entropies, clamped)
            if self._rollout.record.kept is None:  # the first micro-batch, through whose rollout the control stays
                self._record_kept(self._micro_batch)
            self._loss_inputs["advantages"] = self._actuation.advantages(self._micro_batch)
        elif measures and self._rollout is not None and not self._rollout.measured:
            self._rollout.no_grad_passes.append((logps, entropies, clamped))
        return logps, entropies if compute_entropy else None, aux_loss

    def _look_at(
        self, inputs: dict[str, Any], logps: torch.Tensor, entropies: torch.Tensor, clamped: torch.Tensor | None
    ) -> MicroBatch:
        # TRL's token count spans the rollout: a token weighs the same in every micro-batch and on every process.
        updates = self.args.steps_per_generation / self.current_gradient_accumulation_steps
        return MicroBatch(
            inputs=inputs,
            mask=completion_mask(inputs),
            logps=logps,
            old_logps=inputs.get("old_per_token_logps", logps.detach()),
            entropies=entropies,
            clamped=clamped,
            clip=(self.epsilon_low, self.epsilon_high),
            tokens=inputs["num_items_in_batch"].clamp(min=1.0) / self.accelerator.num_processes / updates,
            completions=len(logps) * self.current_gradient_accumulation_steps,
        )

    def _record_kept(self, batch: MicroBatch) -> None:
        kept, record = self._actuation.kept(batch), self._rollout.record
        if kept is None:
            return
        record.kept = kept.share
        if kept.message is not None:
            record.events = [*(record.events or []), {"kind": "guard", "message": kept.message}]
            logger.warning("rollout %d: %s", record.rollout, kept.message)

    def _compute_loss(self, model, inputs):
        # dr_grpo divides by the longest completion; that of the first stage throughout, so that a switch to longer ones
        # leaves the scale of the loss as it was
        first_length = temporarily(self, max_completion_length=self._loss_length)
        if not self.model.training:
            with first_length:
                return super()._compute_loss(model, inputs)
        self._loss_inputs = dict(inputs)
        with first_length, counted(self, self._passes):
            loss = super()._compute_loss(model, self._loss_inputs)
        batch, self._micro_batch, self._loss_inputs = self._micro_batch, None, None
        loss = loss - self._actuation.bonus(batch)
        for name in ("clip_ratio/high_mean", "cispo_clip_ratio"):
            if name in self._metrics["train"]:
                self._rollout.clip_fractions.append(self._metrics["train"][name][-1])
        if not self._rollout.measured:  # TRL made no pass before the first update: measure in the only one
            self._rollout.sensor.add(batch.entropies, batch.mask, inputs["prompt_index"], batch.clamped)
            if self._is_last_micro_batch and self._pass == self._passes - 1:
                self._end_rollout()
        return loss
