"""Passes of [`ESGRPOTrainer`]: as many as a stage needs, measured on the way, with the entropy bonus."""

import torch
from transformers import Trainer
from trl import GRPOTrainer

from .micro_batches import counted, cut, more_to_come, temporarily
from .sensor import completion_mask


class PassesMixin(GRPOTrainer):
    """What the model is run on: each of TRL's micro-batches in one or more passes, whose entropies the sensor reads."""

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
        logps, entropies, aux_loss = super()._get_per_token_logps_and_entropies(
            model, *args, compute_entropy=compute_entropy or measures, **kwargs
        )
        if measures and self._rollout is not None and not self._rollout.measured:
            self._rollout.no_grad_passes.append((logps, entropies))
        elif compute_entropy:
            self._loss_entropies = entropies
        return logps, entropies if compute_entropy else None, aux_loss

    def _compute_loss(self, model, inputs):
        # dr_grpo divides by the longest completion; that of the first stage throughout, so that a switch to longer ones
        # leaves the scale of the loss as it was
        first_length = temporarily(self, max_completion_length=self._loss_length)
        with first_length, counted(self, self._passes if self.model.training else 1):
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
                self._rollout.clip_fractions.append(self._metrics["train"][name][-1])
        if not self._rollout.measured:  # TRL made no pass before the first update: measure in the only one
            self._rollout.sensor.add(entropies, mask, inputs["prompt_index"])
            if self._is_last_micro_batch and self._pass == self._passes - 1:
                self._end_rollout()
        return loss
