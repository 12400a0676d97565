"""Dynamic sampling: fresh prompts replace those whose completions all got the same reward.

Completions with equal rewards have an advantage of 0, so there is nothing to learn from them.

Source: "DAPO: An Open-Source LLM Reinforcement Learning System at Scale" (arXiv 2503.14476), section 3.2.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object


# the first results of TRL's `_generate`, in its order
COLUMNS = ("prompt_ids", "completion_ids", "tool_mask", "completion", "logprobs")


@dataclass
class ScoredCompletions:
    """The completions of some prompts, with their rewards."""

    entries: list[dict[str, Any]]  # the results of `entries_of`, one per completion of this process
    rewards: torch.Tensor  # (completions of all processes, reward functions); NaN if a function gave no reward

    @staticmethod
    def entries_of(rows: list[dict[str, Any]], generated: tuple[Any, ...], logged: dict[str, list[Any]]) -> list[Any]:
        """
        Return one dict per completion.

        Args:
            rows (`list[dict[str, Any]]`):
                Rows of the dataset, one per completion.
            generated (`tuple`):
                Result of TRL's `_generate` for these rows.
            logged (`dict[str, list[Any]]`):
                Columns that reward functions logged.
        """
        columns = {name: column or [None] * len(rows) for name, column in zip(COLUMNS, generated, strict=False)}
        return [
            {
                "row": row,
                "logged": {name: values[i] for name, values in logged.items() if len(values) == len(rows)},
                **{name: column[i] for name, column in columns.items()},
            }
            for i, row in enumerate(rows)
        ]

    def columns(self) -> tuple[list[Any] | None, ...]:
        """Return the completions in the form of `_generate`, one list per name in `COLUMNS`."""
        columns = ([entry[name] for entry in self.entries] for name in COLUMNS)
        return tuple(column if None not in column else None for column in columns)


@dataclass(frozen=True)
class SamplingCost:
    """The cost of dynamic sampling in one rollout, over all processes."""

    tries: int  # generations in addition to the first one
    fresh_prompts: int  # prompts of these additional generations
    masked_prompts: int  # prompts that still have equal rewards at the end and are masked out of the loss
    extra_tokens: int  # completion tokens of the additional generations
    first_reward: float  # mean reward before any replacement, which shows the policy on the dataset as it is


def uniform_groups(rewards: torch.Tensor, num_generations: int) -> torch.Tensor:
    """
    Return for each prompt whether all its completions got the same reward.

    Args:
        rewards (`torch.Tensor` of shape `(prompts * num_generations, columns)`):
            Rewards; the completions of a prompt follow each other. A completion without a reward (NaN) is ignored.
        num_generations (`int`):
            Completions per prompt.

    Returns:
        `torch.Tensor` of bool and shape `(prompts,)`.
    """
    groups = rewards.view(-1, num_generations, rewards.shape[-1])
    lowest = torch.where(groups.isnan(), torch.inf, groups).amin(dim=1)
    highest = torch.where(groups.isnan(), -torch.inf, groups).amax(dim=1)
    return (lowest >= highest).all(dim=1)  # also true for a prompt with NaN only, where it compares inf >= -inf


def weighted_sums(rewards: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """
    Return the weighted sum of the rewards of each completion, as TRL does.

    Args:
        rewards (`torch.Tensor` of shape `(completions, reward functions)`):
            Rewards; NaN if a function gave no reward.
        weights (`torch.Tensor` of shape `(reward functions,)`):
            Weights.

    Returns:
        `torch.Tensor` of shape `(completions, 1)`: the sums, NaN if no function gave a reward.
    """
    sums = (rewards * weights.to(rewards.device)).nansum(dim=1, keepdim=True)
    return sums.masked_fill(rewards.isnan().all(dim=1, keepdim=True), torch.nan)


class DynamicSampling:
    """
    The replacement of prompts whose completions all got the same reward ("uniform" prompts).

    Each try generates as many fresh prompts as there are uniform ones, rounded up to a number that the processes can
    share equally. All processes see the same rewards, so they make the same decisions.

    Args:
        tries (`int`):
            Largest number of additional generations per rollout.
        reward_weights (`torch.Tensor` of shape `(reward functions,)`):
            Weights of the reward functions.
        by_function (`bool`):
            Whether TRL computes advantages for each reward function separately (`normalize_then_sum`). A prompt is then
            uniform only if it is uniform for every function; otherwise the weighted sum of the rewards decides.
        accelerator (`Accelerator`):
            The trainer's accelerator.
    """

    def __init__(self, tries: int, reward_weights: torch.Tensor, by_function: bool, accelerator: Accelerator) -> None:
        self.tries, self._weights, self._by_function = tries, reward_weights, by_function
        self._accelerator = accelerator

    def refill(
        self,
        own: ScoredCompletions,
        num_generations: int,
        draw: Callable[[int], list[dict[str, Any]]],
        complete: Callable[[list[dict[str, Any]]], ScoredCompletions],
    ) -> tuple[torch.Tensor, SamplingCost]:
        """
        Replace uniform prompts in place, as far as the tries allow.

        Args:
            own (`ScoredCompletions`):
                The rollout as it was first generated; it is changed in place.
            num_generations (`int`):
                Completions per prompt.
            draw (`Callable`):
                Function that draws a given number of prompts, and returns this process's rows, one per completion.
            complete (`Callable`):
                Function that generates and scores one completion for each of these rows.

        Returns:
            `tuple[torch.Tensor, SamplingCost]`: for each prompt whether it is still uniform, of shape `(prompts,)`, and
            the cost.
        """
        uniform = self.uniform(own.rewards, num_generations)
        first_reward = weighted_sums(own.rewards, self._weights).nanmean().item()
        size, first = num_generations, self._accelerator.process_index * len(own.entries)
        tries = fresh_prompts = extra_tokens = 0
        while tries < self.tries and uniform.any():
            count = self._shareable(int(uniform.sum()), num_generations)
            fresh = complete(draw(count))
            tries, fresh_prompts = tries + 1, fresh_prompts + count
            entries = gather_object(fresh.entries)
            extra_tokens += sum(len(entry["completion_ids"]) for entry in entries)
            mixed = ~self.uniform(fresh.rewards, num_generations)
            places = uniform.nonzero().flatten().tolist()
            for place, group in zip(places, mixed.nonzero().flatten().tolist(), strict=False):
                own_rows, fresh_rows = (slice(at * size, (at + 1) * size) for at in (place, group))
                own.rewards[own_rows] = fresh.rewards[fresh_rows]
                for row, entry in enumerate(entries[fresh_rows], start=place * size - first):
                    if 0 <= row < len(own.entries):
                        own.entries[row] = entry
                uniform[place] = False
        cost = SamplingCost(tries, fresh_prompts, int(uniform.sum()), extra_tokens, first_reward)
        return uniform, cost

    def uniform(self, rewards: torch.Tensor, num_generations: int) -> torch.Tensor:
        """Return for each prompt whether it is uniform, of shape `(prompts,)`, given the `rewards` of all functions."""
        return uniform_groups(rewards if self._by_function else weighted_sums(rewards, self._weights), num_generations)

    def _shareable(self, prompts: int, num_generations: int) -> int:
        """Return the smallest number >= `prompts` of prompts whose completions the processes can share equally."""
        processes = self._accelerator.num_processes
        unit = processes // math.gcd(processes, num_generations)
        return math.ceil(prompts / unit) * unit


def nothing_to_learn(rollout: int, cost: SamplingCost) -> str:
    """Return the error message for a rollout in which every prompt is uniform."""
    if math.isnan(cost.first_reward):
        return (
            f"rollout {rollout} has nothing to learn from, because no reward function gave a reward for any of its "
            "completions (None or NaN): check the reward functions and the columns that they read"
        )
    return (
        f"rollout {rollout} has no prompt whose completions got different rewards, after {cost.tries} more generations "
        f"for {cost.fresh_prompts} fresh prompts (mean reward {cost.first_reward:.3g}): set dataset_filter for easier "
        "or harder prompts, raise num_generations or dynamic_sampling_tries, or check the reward functions"
    )
