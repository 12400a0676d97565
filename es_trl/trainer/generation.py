"""Prompts of [`ESGRPOTrainer`]: drawn by the curriculum, answered, and replaced by dynamic sampling."""

from dataclasses import asdict
from typing import Any

import torch
from torch.utils.data import SequentialSampler
from trl import GRPOTrainer

from ..control.geometry import Geometry
from ..curriculum.dynamic_sampling import Answers, DynamicSampling, nothing_to_learn
from .sensor import completion_mask


class PromptingMixin(GRPOTrainer):
    """
    Where the prompts of a rollout come from, if there is a curriculum or dynamic sampling.

    TRL generates and scores a whole rollout in one method. What is replaced is replaced within it, between its
    generation and its scoring, so that the log-probabilities are computed once, for what is trained on.
    """

    _dynamic_sampling: DynamicSampling | None = None
    _rewards: torch.Tensor | None = None  # of a rollout that dynamic sampling has put together
    _scored: torch.Tensor | None = None  # of the rollout that is being scored, of all processes

    def get_train_dataloader(self):
        if self.curriculum is None:
            return super().get_train_dataloader()
        # A rollout draws its prompts when it begins, so the loader has only its micro-batches to count.
        micro_batches = self.args.max_steps * self.args.gradient_accumulation_steps
        if self.args.max_steps <= 0:
            micro_batches = len(self.train_dataset) // Geometry.of(self.args).prompts * self._generate_every
        return self._get_dataloader(
            dataset=range(micro_batches * self.accelerator.num_processes),
            description="Training",
            batch_size=1,
            sampler_fn=SequentialSampler,
            is_training=True,
        )

    def _draw_rows(self, prompts: int) -> list[dict[str, Any]]:
        """This process's rows of the next prompts, one a completion."""
        return self.curriculum.draw(prompts, self.num_generations, self.accelerator)

    def _generate(self, prompts):
        generated = super()._generate(prompts)
        if self._dynamic_sampling is None or not self.model.training:
            return generated
        if generated[6] is not None:
            raise ValueError("dynamic sampling together with images in the prompts: set dynamic_sampling_tries: 0")
        counts = {name: len(values) for name, values in self._metrics["train"].items()}
        own = self._score(self._rows, generated)
        self._uniform, cost = self._dynamic_sampling.refill(own, self.num_generations, self._draw_rows, self._answer)
        if self._uniform.all():
            raise ValueError(nothing_to_learn(self._next_rollout, cost))
        # TRL goes on with the lists that it gave
        self._rows[:] = [entry["row"] for entry in own.entries]
        prompts[:] = [row["prompt"] for row in self._rows]
        self._rewards = own.rewards
        for column in own.entries[0]["logged"]:
            self._pending_extra_logs[column] = [entry["logged"].get(column) for entry in own.entries]
        prompt_ids, completion_ids, tool_mask, completions, logprobs = own.columns()
        for name, count in counts.items():
            if name.startswith("completions/"):
                del self._metrics["train"][name][count:]  # of the tries
        lengths = torch.tensor([float(len(ids)) for ids in completion_ids], device=self.accelerator.device)
        self._metrics["train"]["completions/mean_length"][-1] = self.accelerator.gather(lengths).mean().item()
        self._rollout.record.sampling = asdict(cost)
        for name, value in asdict(cost).items():
            self._metrics["train"][f"es/sampling/{name}"].append(float(value))
        return prompt_ids, completion_ids, tool_mask, completions, logprobs, {}, *generated[6:]

    def _answer(self, rows: list[dict[str, Any]]) -> Answers:
        """A completion for each row, and the rewards."""
        return self._score(rows, super()._generate([row["prompt"] for row in rows]))

    def _score(self, rows: list[dict[str, Any]], generated: tuple[Any, ...]) -> Answers:
        _, completion_ids, _, completions, _, extra_fields, *_ = generated
        for name, values in extra_fields.items():  # of a rollout function, as TRL hands them to the rewards
            for i, row in enumerate(rows):
                row[name] = values[i] if isinstance(values, list) else values
        prompts = [row["prompt"] for row in rows]
        rewards = super()._calculate_rewards(rows, prompts, completions, completion_ids)
        logged = dict(self._pending_extra_logs)
        self._pending_extra_logs.clear()
        return Answers(Answers.entries_of(rows, generated, logged), rewards)

    def _calculate_rewards(self, inputs, prompts, completions, completion_ids_list):
        rewards, self._rewards = self._rewards, None  # known already where dynamic sampling needed them
        if rewards is None:
            rewards = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)
        self._scored = rewards
        return rewards

    def _mask_uniform(self, batch: dict[str, Any]) -> None:
        """Leave out of the loss what dynamic sampling could not replace."""
        kept = ~self._uniform.to(batch["prompt_index"].device)[batch["prompt_index"]]
        batch["completion_mask"] = batch["completion_mask"] * kept.unsqueeze(1)
        batch["num_items_in_batch"] = self.accelerator.gather(completion_mask(batch).sum()).sum()
