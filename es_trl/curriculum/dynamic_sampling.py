"""The filling of a rollout with prompts that are worth training on: fresh prompts replace those that are not.

A prompt may be left after few completions, and fresh prompts are tried as the first ones were. All processes see the
same rewards, so they make the same decisions.
"""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

from .prompt_choice import PromptChoice
from .scored import Rows, ScoredCompletions, Source


@dataclass(frozen=True)
class SamplingCost:
    """The cost of dynamic sampling in one rollout, over all processes."""

    tries: int  # generations in addition to the first one
    fresh_prompts: int  # prompts of these additional generations
    masked_prompts: int  # prompts that are not worth training on at the end and are masked out of the loss
    extra_tokens: int  # completion tokens of the additional generations
    first_reward: float  # mean reward before any replacement, which shows the policy on the dataset as it is


@dataclass(frozen=True)
class EarlyExitCost:
    """The prompts that were left after their early completions in one rollout, over all processes."""

    prompts: int  # all prompts that were tried
    left: int  # prompts that were left after their early completions
    left_tokens: int  # tokens of these early completions
    saved_tokens: float  # tokens of the completions not sampled, if they are as long as the early ones


@dataclass(frozen=True)
class Filled:
    """
    The completions of a rollout.

    Args:
        sources (`list[Source]`):
            The completions, `num_generations` per prompt. Where a prompt was left, its early ones are repeated.
        rewards (`torch.Tensor` of shape `(completions, reward functions)`):
            Their rewards.
        masked (`torch.Tensor` of shape `(prompts,)`):
            Marks the prompts that are not worth training on.
        sampling (`SamplingCost`), early_exit (`EarlyExitCost`, *optional*):
            The costs.
    """

    sources: list[Source]
    rewards: torch.Tensor
    masked: torch.Tensor
    sampling: SamplingCost
    early_exit: EarlyExitCost | None


class Filling:
    """
    The filling of one rollout.

    Args:
        choice (`PromptChoice`):
            The rules.
        num_generations (`int`):
            Completions per prompt.
        complete (`Callable`):
            Function from prompts and a number to that many scored completions of each prompt, in the prompts' order.
            The same prompts are given on all processes. More completions may follow, which are not used.
    """

    def __init__(
        self, choice: PromptChoice, num_generations: int, complete: Callable[[Rows, int], ScoredCompletions]
    ) -> None:
        self._choice, self._num_generations, self._generate = choice, num_generations, complete
        self.generations: list[ScoredCompletions] = []
        self._prompts = self._left = self._left_tokens = 0

    def fill(self, prompts: Rows, draw: Callable[[int], Rows]) -> Filled:
        """
        Try `prompts`, and replace those that are not worth training on as far as the tries allow.

        `draw` returns a given number of fresh prompts.
        """
        groups, worth = self._try(prompts)
        first = self.generations[0].rewards[: len(prompts) * (self._choice.early or self._num_generations)]
        first_reward = self._choice.sums(first).nanmean().item()
        before, tries, fresh_prompts = len(self.generations), 0, 0
        while tries < self._choice.tries and not all(worth):
            places = [place for place, is_worth in enumerate(worth) if not is_worth]
            fresh = self._try(draw(len(places)))
            tries, fresh_prompts = tries + 1, fresh_prompts + len(places)
            good = [group for group, is_worth in zip(*fresh, strict=True) if is_worth]
            for place, group in zip(places, good, strict=False):
                groups[place], worth[place] = group, True
        extra_tokens = sum(sum(generation.tokens) for generation in self.generations[before:])
        rewards = self._rewards_of(groups)
        masked = ~torch.tensor(worth, device=rewards.device)
        cost = SamplingCost(tries, fresh_prompts, worth.count(False), extra_tokens, first_reward)
        sources = [source for group in groups for source in group]
        return Filled(sources, rewards, masked, cost, self._early_exit_cost())

    def _try(self, prompts: Rows) -> tuple[list[list[Source]], list[bool]]:
        """Return the completions of each prompt, and whether it is worth training on."""
        choice, size = self._choice, self._num_generations
        groups = self._complete(prompts, choice.early or size)
        self._prompts += len(prompts)
        goes_on = [True] * len(prompts)
        if choice.early:
            goes_on = choice.goes_on(self._rewards_of(groups)).tolist()
            staying = [row for row, on in zip(prompts, goes_on, strict=True) if on]
            others = iter(self._complete(staying, size - choice.early))
            for place, on in enumerate(goes_on):
                if on:
                    groups[place] = [*groups[place], *next(others)]
                else:
                    self._leave(groups[place])
                    # copies hold the place of completions that nobody trains on
                    groups[place] = [groups[place][i % choice.early] for i in range(size)]
        mixed = choice.mixed(self._rewards_of(groups), size).tolist()
        return groups, [on and teaches for on, teaches in zip(goes_on, mixed, strict=True)]

    def _complete(self, prompts: Rows, count: int) -> list[list[Source]]:
        """Generate `count` completions of each prompt."""
        if not prompts:
            return []
        self.generations.append(self._generate(prompts, count))
        number = len(self.generations) - 1
        return [[(number, row) for row in range(at * count, (at + 1) * count)] for at in range(len(prompts))]

    def _rewards_of(self, groups: list[list[Source]]) -> torch.Tensor:
        rewards = [generation.rewards for generation in self.generations]
        before = [0, *itertools.accumulate(map(len, rewards))]
        return torch.cat(rewards)[[before[generation] + row for group in groups for generation, row in group]]

    def _leave(self, group: list[Source]) -> None:
        self._left += 1
        self._left_tokens += sum(self.generations[generation].tokens[row] for generation, row in group)

    def _early_exit_cost(self) -> EarlyExitCost | None:
        if not (early := self._choice.early):
            return None
        saved = self._left_tokens * (self._num_generations - early) / early
        return EarlyExitCost(self._prompts, self._left, self._left_tokens, saved)


def nothing_to_learn(rollout: int, choice: PromptChoice, cost: SamplingCost) -> str:
    """Return the error message for a rollout in which no prompt is worth training on."""
    if math.isnan(cost.first_reward):
        return (
            f"rollout {rollout} has nothing to learn from, because no reward function gave a reward for any of its "
            "completions (None or NaN): check the reward functions and the columns that they read"
        )
    tried = (
        f"after {cost.tries} more generations for {cost.fresh_prompts} fresh prompts (mean reward "
        f"{cost.first_reward:.3g})"
    )
    if choice.early:
        low, high = choice.rates
        return (
            f"rollout {rollout} has no prompt with a pass rate from {low:g} to {high:g} over {choice.early} "
            f"completions and with different rewards, {tried}: set dataset_filter for easier or harder prompts, widen "
            "early_pass_rates, raise early_generations or dynamic_sampling_tries, or check the reward functions"
        )
    return (
        f"rollout {rollout} has no prompt whose completions got different rewards, {tried}: set dataset_filter for "
        "easier or harder prompts, raise num_generations or dynamic_sampling_tries, or check the reward functions"
    )
