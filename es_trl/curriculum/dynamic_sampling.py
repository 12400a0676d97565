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
class ScoredCompletions:
    """Prompts with their completions and rewards."""

    entries: list[dict[str, Any]]  # one per completion of this process: its row, and the columns of `entries_of`
    rewards: torch.Tensor  # (completions of all processes, reward functions), NaN where a function gave none

    @staticmethod
    def entries_of(rows: list[dict[str, Any]], generated: tuple[Any, ...], logged: dict[str, list[Any]]) -> list[Any]:
        """
        Return the entries of completions with these rows of the data set.

        `generated` is what TRL's `_generate` returned, and `logged` are the columns that reward functions logged.
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
        """Return the entries as `_generate` does, by `COLUMNS`."""
        columns = ([entry[name] for entry in self.entries] for name in COLUMNS)
        return tuple(column if None not in column else None for column in columns)


@dataclass(frozen=True)
class SamplingCost:
    """What dynamic sampling did in one rollout, over all processes."""

    tries: int  # generations beside the rollout's own
    fresh_prompts: int  # that were generated for in them
    masked_prompts: int  # of equal rewards in the end, masked out of the loss
    extra_tokens: int  # that were generated in the tries
    first_reward: float  # mean before anything was replaced: that of the policy on the data as it is


def uniform_groups(rewards: torch.Tensor, num_generations: int) -> torch.Tensor:
    """
    Return which prompts got the same reward for every completion, compared by equality: bool, `(prompts,)`.

    Args:
        rewards (`torch.Tensor` of shape `(prompts * num_generations, columns)`):
            Rewards, the completions of a prompt in a row. NaN is no reward: such a completion is left out.
    """
    groups = rewards.view(-1, num_generations, rewards.shape[-1])
    lowest = torch.where(groups.isnan(), torch.inf, groups).amin(dim=1)
    highest = torch.where(groups.isnan(), -torch.inf, groups).amax(dim=1)
    return (lowest >= highest).all(dim=1)  # nothing but NaN leaves inf >= -inf


def weighted_sums(rewards: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """
    Return the reward of each completion as TRL sums it, `(completions, 1)`, NaN where no function gave one.

    The rewards are `(completions, reward functions)`, the weights `(reward functions,)`.
    """
    sums = (rewards * weights.to(rewards.device)).nansum(dim=1, keepdim=True)
    return sums.masked_fill(rewards.isnan().all(dim=1, keepdim=True), torch.nan)


class DynamicSampling:
    """
    Replaces the prompts of a rollout that have nothing to teach, in at most `tries` generations.

    Every process comes to the same decisions, because all see the same rewards; each try generates as few prompts as
    are missing, rounded up to what the processes can share equally.

    Args:
        by_function (`bool`):
            Whether advantages are made of each function's rewards by itself (`normalize_then_sum`), so that a group is
            uniform only where it is in all of them; of their weighted sum otherwise.
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
        Replace what can be replaced, in place; return which prompts remain uniform, `(prompts,)`, and the cost.

        Args:
            own (`ScoredCompletions`):
                The rollout as it was generated.
            draw (`Callable`):
                Gives this process's rows of the next so many prompts, one per completion.
            complete (`Callable`):
                Generates and scores a completion for each of these rows.
        """
        uniform = self._uniform(own.rewards, num_generations)
        first_reward = weighted_sums(own.rewards, self._weights).nanmean().item()
        size, first = num_generations, self._accelerator.process_index * len(own.entries)
        tries = fresh_prompts = extra_tokens = 0
        while tries < self.tries and uniform.any():
            count = self._shareable(int(uniform.sum()), num_generations)
            fresh = complete(draw(count))
            tries, fresh_prompts = tries + 1, fresh_prompts + count
            entries = gather_object(fresh.entries)
            extra_tokens += sum(len(entry["completion_ids"]) for entry in entries)
            mixed = ~self._uniform(fresh.rewards, num_generations)
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

    def _uniform(self, rewards: torch.Tensor, num_generations: int) -> torch.Tensor:
        return uniform_groups(rewards if self._by_function else weighted_sums(rewards, self._weights), num_generations)

    def _shareable(self, prompts: int, num_generations: int) -> int:
        """Return the least number, at least `prompts`, of prompts whose completions the processes can share equally."""
        processes = self._accelerator.num_processes
        unit = processes // math.gcd(processes, num_generations)
        return math.ceil(prompts / unit) * unit


def nothing_to_learn(rollout: int, cost: SamplingCost) -> str:
    """Return the message for a rollout in which no prompt has completions of different rewards."""
    if math.isnan(cost.first_reward):
        return (
            f"rollout {rollout} has nothing to learn from, because no reward function gave a reward for any of its "
            "completions (None or NaN): look at the reward functions, and at the columns that they read"
        )
    return (
        f"rollout {rollout} has no prompt whose completions got different rewards, after {cost.tries} more generations "
        f"for {cost.fresh_prompts} fresh prompts (mean reward {cost.first_reward:.3g}): set dataset_filter for easier "
        "or harder prompts, raise num_generations or dynamic_sampling_tries, or look at the reward function"
    )
