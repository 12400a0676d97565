"""The replacement of a rollout's prompts between its generation and its scoring.

TRL generates and scores a whole rollout in one method. Dynamic sampling replaces prompts inside this method. So TRL
computes log-probabilities only once, for the completions that are trained on.
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
    Replaces the prompts of a rollout whose completions all have the same reward.

    Afterwards the trainer's metrics and logged columns describe only the completions that are trained on.

    Args:
        trainer (`GRPOTrainer`), sampling (`DynamicSampling`):
            The trainer, and the rule that chooses the prompts to replace.
        draw (`Callable[[int], list[dict]]`):
            Function from a number of prompts to this process's rows of that many new prompts.
        generate (`Callable`), reward (`Callable`):
            TRL's own `_generate` and `_calculate_rewards`.
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
        Generate completions for a rollout, then for the prompts that replace others.

        The value is that of TRL's `_generate`. `prompts` and the rows of the rollout are changed in place, because TRL
        continues with the list that it passed.
        """
        metrics, logged = self._trainer._metrics["train"], self._trainer._pending_extra_logs
        generated = self._generate(prompts)
        if generated[6] is not None:
            raise ValueError(
                "`dynamic_sampling_tries` must be 0 for prompts with images, which cannot be replaced: set it to 0"
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
                del metrics[name][count:]  # these describe the prompts that were tried
        for name, value in self._lengths(columns[1]).items():
            metrics[name][-1] = value
        return (*columns, {}, *generated[6:])

    def _complete(self, rows: Rows) -> ScoredCompletions:
        """Generate a completion for each row and compute its rewards."""
        return self._score(rows, self._generate([row["prompt"] for row in rows]))

    def _score(self, rows: Rows, generated: tuple[Any, ...]) -> ScoredCompletions:
        _, completion_ids, _, completions, _, extra_fields, *_ = generated
        for name, values in extra_fields.items():  # a rollout function returns them, and TRL passes them to the rewards
            for i, row in enumerate(rows):
                row[name] = values[i] if isinstance(values, list) else values
        rewards = self._reward(rows, [row["prompt"] for row in rows], completions, completion_ids)
        pending = self._trainer._pending_extra_logs
        logged = dict(pending)
        pending.clear()
        return ScoredCompletions(ScoredCompletions.entries_of(rows, generated, logged), rewards)

    def _lengths(self, completion_ids: list[list[int]]) -> dict[str, float]:
        """Return the mean length and the truncated share of the completions of all processes, by TRL's names."""
        accelerator = self._trainer.accelerator
        own = torch.tensor(lengths_of(self._trainer, completion_ids), dtype=torch.float, device=accelerator.device)
        means = accelerator.gather(own).mean(dim=0)
        return dict(zip(("completions/mean_length", "completions/clipped_ratio"), means.tolist(), strict=True))


def lengths_of(trainer: GRPOTrainer, completion_ids: list[list[int]]) -> list[tuple[int, bool]]:
    """Return the tokens of each completion, and whether it was cut at the limit, as TRL counts both."""
    ends = {*trainer.eos_token_ids, trainer._tokenizer.pad_token_id}
    return [(len(ids), len(ids) > 0 and ids[-1] not in ends) for ids in completion_ids]


def mask_prompts(batch: dict[str, Any], prompts: torch.Tensor, accelerator: Accelerator) -> None:
    """Leave the marked `prompts`, bool of shape `(prompts,)`, out of the loss; `batch` has the rows of this process."""
    kept = ~prompts.to(batch["prompt_index"].device)[batch["prompt_index"]]
    batch["completion_mask"] = batch["completion_mask"] * kept.unsqueeze(1)
    batch["num_items_in_batch"] = accelerator.gather(completion_mask(batch).sum()).sum()


@contextlib.contextmanager
def unbroken(rollout: int) -> Iterator[None]:
    """Raise an error that explains the broken policy where torch cannot sample a token from it."""
    try:
        yield
    except RuntimeError as error:
        if "probability tensor contains" not in str(error):  # torch's error for NaN and infinity
            raise
        raise ValueError(broken_policy(rollout, "no token can be sampled from it")) from error
