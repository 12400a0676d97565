"""Replaced prompts of a rollout, between its generation and its scoring.

TRL generates and scores a whole rollout in one method. What dynamic sampling replaces is replaced within it, so that
the log-probabilities are computed once, for what is trained on.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

import torch
from accelerate import Accelerator
from trl import GRPOTrainer

from ..control.loop import broken_policy
from ..curriculum.dynamic_sampling import DynamicSampling, ScoredCompletions, nothing_to_learn
from .rollout import OpenRollout
from .sensor import completion_mask


Rows = list[dict[str, Any]]


class Refill:
    """
    Replaces the prompts of a rollout that have nothing to teach.

    `draw` gives this process's rows of so many fresh prompts; `generate` and `reward` are TRL's own `_generate` and
    `_calculate_rewards`. The trainer's metrics and logged columns are of what is trained on in the end.
    """

    def __init__(
        self,
        trainer: GRPOTrainer,
        sampling: DynamicSampling,
        draw: Callable[[int], Rows],
        generate: Callable[..., tuple[Any, ...]],
        reward: Callable[..., torch.Tensor],
    ):
        self._trainer, self._sampling = trainer, sampling
        self._draw, self._generate, self._reward = draw, generate, reward

    def __call__(self, rollout: OpenRollout, prompts: list[Any]) -> tuple[Any, ...]:
        """
        Generate for a rollout, and again for the prompts that are replaced; return what TRL's `_generate` does.

        The `prompts` change in place with the rows of the rollout, because TRL goes on with the list that it gave.
        """
        metrics, logged = self._trainer._metrics["train"], self._trainer._pending_extra_logs
        generated = self._generate(prompts)
        if generated[6] is not None:
            raise ValueError(
                "`dynamic_sampling_tries` must be 0 for prompts with images, which are not replaced: set it to 0"
            )
        counts = {name: len(values) for name, values in metrics.items()}
        own = self._score(rollout.rows, generated)
        uniform, cost = self._sampling.refill(own, self._trainer.num_generations, self._draw, self._complete)
        if uniform.all():
            raise ValueError(nothing_to_learn(rollout.rollout, cost))
        rollout.rows[:] = [entry["row"] for entry in own.entries]
        prompts[:] = [row["prompt"] for row in rollout.rows]
        rollout.refill(own.rewards, uniform, asdict(cost))
        for column in own.entries[0]["logged"]:
            logged[column] = [entry["logged"].get(column) for entry in own.entries]
        columns = own.columns()
        for name, count in counts.items():
            if name.startswith("completions/"):
                del metrics[name][count:]  # of the tries
        metrics["completions/mean_length"][-1] = self._mean_length(columns[1])
        for name, value in asdict(cost).items():
            metrics[f"es/sampling/{name}"].append(float(value))
        return (*columns, {}, *generated[6:])

    def _complete(self, rows: Rows) -> ScoredCompletions:
        """Write a completion for each row, and reward it."""
        return self._score(rows, self._generate([row["prompt"] for row in rows]))

    def _score(self, rows: Rows, generated: tuple[Any, ...]) -> ScoredCompletions:
        _, completion_ids, _, completions, _, extra_fields, *_ = generated
        for name, values in extra_fields.items():  # of a rollout function, as TRL hands them to the rewards
            for i, row in enumerate(rows):
                row[name] = values[i] if isinstance(values, list) else values
        rewards = self._reward(rows, [row["prompt"] for row in rows], completions, completion_ids)
        pending = self._trainer._pending_extra_logs
        logged = dict(pending)
        pending.clear()
        return ScoredCompletions(ScoredCompletions.entries_of(rows, generated, logged), rewards)

    def _mean_length(self, completion_ids: list[list[int]]) -> float:
        accelerator = self._trainer.accelerator
        lengths = torch.tensor([float(len(ids)) for ids in completion_ids], device=accelerator.device)
        return accelerator.gather(lengths).mean().item()


def mask_prompts(batch: dict[str, Any], prompts: torch.Tensor, accelerator: Accelerator) -> None:
    """Leave prompts, bool of shape `(prompts,)`, out of the loss of a rollout, of which `batch` is this process's."""
    kept = ~prompts.to(batch["prompt_index"].device)[batch["prompt_index"]]
    batch["completion_mask"] = batch["completion_mask"] * kept.unsqueeze(1)
    batch["num_items_in_batch"] = accelerator.gather(completion_mask(batch).sum()).sum()


@contextlib.contextmanager
def unbroken(rollout: int) -> Iterator[None]:
    """Say that the policy is broken where no token can be sampled from it."""
    try:
        yield
    except RuntimeError as error:
        if "probability tensor contains" not in str(error):  # torch's words
            raise
        raise ValueError(broken_policy(rollout, "no token can be sampled from it")) from error
