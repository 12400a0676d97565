"""Dynamic sampling: prompts whose completions all got the same reward are replaced by fresh ones.

Source: "DAPO: An Open-Source LLM Reinforcement Learning System at Scale" (arXiv 2503.14476), section 3.2. Such a group
has no advantage to learn from.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object


COLUMNS = ("prompt_ids", "completion_ids", "tool_mask", "completion", "logprobs")  # the first that _generate returns


@dataclass
class Answers:
    """
    Prompts with their completions and rewards.

    Args:
        entries (`list[dict[str, Any]]`):
            One of each completion of this process: its row of the data set, tokens, text and what belongs to it.
        rewards (`torch.Tensor` of shape `(completions of all processes, reward functions)`):
            NaN where a function gave none.
    """

    entries: list[dict[str, Any]]
    rewards: torch.Tensor

    @staticmethod
    def entries_of(rows: list[dict[str, Any]], generated: tuple[Any, ...], logged: dict[str, list[Any]]) -> list[Any]:
        """
        The entries of completions that TRL's `_generate` returned.

        Args:
            rows (`list[dict[str, Any]]`):
                Their rows of the data set.
            generated (`tuple`):
                Prompt tokens, completion tokens, masks of tool tokens, completions, log-probabilities and what else
                there is.
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
        """The entries as `_generate` returns them: the five columns of [`entries_of`]."""
        columns = ([entry[name] for entry in self.entries] for name in COLUMNS)
        return tuple(column if None not in column else None for column in columns)


@dataclass(frozen=True)
class SamplingCost:
    """
    What dynamic sampling did in one rollout, over all processes.

    Args:
        tries (`int`):
            Generations beside the rollout's own.
        fresh_prompts (`int`):
            Prompts that were generated for in them.
        masked_prompts (`int`):
            Prompts of the rollout whose rewards are all equal in the end, masked out of the loss.
        extra_tokens (`int`):
            Tokens that were generated in the tries.
        first_reward (`float`):
            Mean reward before anything was replaced: that of the policy on the data as it is.
    """

    tries: int
    fresh_prompts: int
    masked_prompts: int
    extra_tokens: int
    first_reward: float


def uniform_groups(rewards: torch.Tensor, num_generations: int) -> torch.Tensor:
    """
    Which prompts got the same reward for every completion, compared by equality.

    Args:
        rewards (`torch.Tensor` of shape `(prompts * num_generations, columns)`):
            Rewards, the completions of a prompt in a row. NaN is no reward: such a completion is left out.
        num_generations (`int`):
            Completions of each prompt.

    Returns:
        `torch.Tensor` of shape `(prompts,)`, bool.
    """
    groups = rewards.view(-1, num_generations, rewards.shape[-1])
    lowest = torch.where(groups.isnan(), torch.inf, groups).amin(dim=1)
    highest = torch.where(groups.isnan(), -torch.inf, groups).amax(dim=1)
    return (lowest >= highest).all(dim=1)  # nothing but NaN leaves inf >= -inf


def weighted_sums(rewards: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """
    The reward of each completion, as TRL sums it.

    Args:
        rewards (`torch.Tensor` of shape `(completions, reward functions)`):
            NaN where a function gave none.
        weights (`torch.Tensor` of shape `(reward functions,)`):
            Of the functions.

    Returns:
        `torch.Tensor` of shape `(completions, 1)`, NaN where no function gave a reward.
    """
    sums = (rewards * weights.to(rewards.device)).nansum(dim=1, keepdim=True)
    return sums.masked_fill(rewards.isnan().all(dim=1, keepdim=True), torch.nan)


class DynamicSampling:
    """
    Replaces the prompts of a rollout that have nothing to teach.

    Every process comes to the same decisions, because all see the same rewards; each try generates as few prompts as
    are missing, rounded up to what the processes can share equally.

    Args:
        tries (`int`):
            Generations beside the rollout's own, at most.
        reward_weights (`torch.Tensor` of shape `(reward functions,)`):
            The trainer's.
        by_function (`bool`):
            Whether advantages are made of each function's rewards by itself (`normalize_then_sum`), so that a group is
            uniform only where it is in all of them; of their weighted sum otherwise.
        accelerator (`Accelerator`):
            The trainer's.
    """

    def __init__(self, tries: int, reward_weights: torch.Tensor, by_function: bool, accelerator: Accelerator):
        self.tries = tries
        self._weights = reward_weights
        self._by_function = by_function
        self._accelerator = accelerator

    def refill(
        self,
        own: Answers,
        num_generations: int,
        draw: Callable[[int], list[dict[str, Any]]],
        answer: Callable[[list[dict[str, Any]]], Answers],
    ) -> tuple[torch.Tensor, SamplingCost]:
        """
        Replace what can be replaced, in place.

        Args:
            own (`Answers`):
                The rollout as it was generated.
            num_generations (`int`):
                Completions of each prompt.
            draw (`Callable`):
                Gives this process's rows of the next so many prompts, one a completion.
            answer (`Callable`):
                Generates and scores a completion for each of these rows.

        Returns:
            Which prompts of the rollout remain uniform, `(prompts,)`, and the cost.
        """
        uniform = self._uniform(own.rewards, num_generations)
        first_reward = weighted_sums(own.rewards, self._weights).nanmean().item()
        tries = fresh_prompts = extra_tokens = 0
        while tries < self.tries and uniform.any():
            count = self._shareable(int(uniform.sum()), num_generations)
            fresh = answer(draw(count))
            tries, fresh_prompts = tries + 1, fresh_prompts + count
            entries = gather_object(fresh.entries)
            extra_tokens += sum(len(entry["completion_ids"]) for entry in entries)
            mixed = ~self._uniform(fresh.rewards, num_generations)
            places = uniform.nonzero().flatten().tolist()
            for place, group in zip(places, mixed.nonzero().flatten().tolist(), strict=False):
                self._put(own, place, entries, fresh.rewards, group, num_generations)
                uniform[place] = False
        cost = SamplingCost(tries, fresh_prompts, int(uniform.sum()), extra_tokens, first_reward)
        return uniform, cost

    def _uniform(self, rewards: torch.Tensor, num_generations: int) -> torch.Tensor:
        return uniform_groups(rewards if self._by_function else weighted_sums(rewards, self._weights), num_generations)

    def _shareable(self, prompts: int, num_generations: int) -> int:
        """The least number of prompts, at least `prompts`, whose completions all processes can share equally."""
        processes = self._accelerator.num_processes
        unit = processes // math.gcd(processes, num_generations)
        return math.ceil(prompts / unit) * unit

    def _put(
        self, own: Answers, place: int, entries: list[dict[str, Any]], rewards: torch.Tensor, group: int, size: int
    ) -> None:
        """Put a fresh group in the place of another one."""
        own.rewards[place * size : (place + 1) * size] = rewards[group * size : (group + 1) * size]
        first = self._accelerator.process_index * len(own.entries)
        for member in range(size):
            row = place * size + member - first
            if 0 <= row < len(own.entries):
                own.entries[row] = entries[group * size + member]


def nothing_to_learn(rollout: int, cost: SamplingCost) -> str:
    """The message for a rollout in which no prompt has completions of different rewards."""
    if math.isnan(cost.first_reward):
        return (
            f"rollout {rollout} has nothing to learn from, because no reward function gave a reward for any of its "
            "completions (None or NaN): look at the reward functions, and at the columns that they read"
        )
    return (
        f"rollout {rollout} has no prompt whose completions got different rewards, after {cost.tries} more generations "
        f"for {cost.fresh_prompts} fresh prompts (mean reward {cost.first_reward:.3g}): each is always right or always "
        "wrong for this policy, so there is nothing to learn. Take easier or harder prompts (`dataset_filter`, or "
        "another data set), raise num_generations or dynamic_sampling_tries, or look at the reward function"
    )
