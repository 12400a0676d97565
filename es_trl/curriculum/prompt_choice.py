"""The prompts that are worth training on, chosen by the rewards of their completions.

- Dynamic sampling leaves prompts whose completions all got the same reward: their advantages are 0. Source: "DAPO: An
  Open-Source LLM Reinforcement Learning System at Scale" (arXiv 2503.14476), section 3.2.
- Early exit leaves prompts that the policy nearly always or nearly never answers right, after few completions. Source:
  "MAI-Thinking-1: Building a Hill-Climbing Machine" (Microsoft AI, 2026), section 3.1.1.
"""

from dataclasses import dataclass

import torch

from .scored import weighted_sums


@dataclass(frozen=True)
class PromptChoice:
    """
    The rules by which the prompts of a rollout are chosen.

    Args:
        tries (`int`):
            Largest number of additional generations per rollout. If it is 0, uniform prompts are trained on.
        weights (`torch.Tensor` of shape `(reward functions,)`):
            Weights of the reward functions.
        by_function (`bool`):
            Whether TRL computes advantages for each reward function separately (`normalize_then_sum`). A prompt is then
            uniform only if it is uniform for every function; otherwise the weighted sum of the rewards decides.
        functions (`int`):
            Number of the reward functions that judge the task; they come before all others.
        early (`int`):
            Completions after which a prompt may be left; 0 if none is left early.
        rates (`tuple[float, float]`):
            Lowest and highest pass rate of a prompt that is not left.
    """

    tries: int
    weights: torch.Tensor
    by_function: bool
    functions: int
    early: int = 0
    rates: tuple[float, float] = (0.0, 1.0)

    def sums(self, rewards: torch.Tensor) -> torch.Tensor:
        """Return the weighted sums of `rewards`, which are `(completions, reward functions)`."""
        return weighted_sums(rewards, self.weights)

    def mixed(self, rewards: torch.Tensor, num_generations: int) -> torch.Tensor:
        """Return for each prompt whether its completions teach something, bool of shape `(prompts,)`."""
        if self.tries == 0:
            return torch.ones(len(rewards) // num_generations, dtype=torch.bool, device=rewards.device)
        return ~self.uniform(rewards, num_generations)

    def uniform(self, rewards: torch.Tensor, num_generations: int) -> torch.Tensor:
        """Return for each prompt whether its completions got equal rewards, bool of shape `(prompts,)`."""
        return uniform_groups(rewards if self.by_function else self.sums(rewards), num_generations)

    def goes_on(self, rewards: torch.Tensor) -> torch.Tensor:
        """
        Return for each prompt whether its pass rate after its early completions is in the range.

        Args:
            rewards (`torch.Tensor` of shape `(prompts * early, reward functions)`):
                Rewards of the early completions.

        Returns:
            `torch.Tensor` of bool and shape `(prompts,)`; false for a prompt without any reward.
        """
        task = weighted_sums(rewards[:, : self.functions], self.weights[: self.functions])
        rates = pass_rates(task.squeeze(1), self.early)
        return (rates >= self.rates[0]) & (rates <= self.rates[1])


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


def pass_rates(rewards: torch.Tensor, num_generations: int) -> torch.Tensor:
    """
    Return the share of each prompt's completions that are right, that is, have a reward above 0.

    Args:
        rewards (`torch.Tensor` of shape `(prompts * num_generations,)`):
            Rewards; a completion without a reward (NaN) is ignored.
        num_generations (`int`):
            Completions per prompt.

    Returns:
        `torch.Tensor` of float64 and shape `(prompts,)`, from 0 to 1; NaN for a prompt without any reward.
    """
    # doubles, so that 8 of 10 equals 0.8
    right = torch.where(rewards.isnan(), torch.nan, (rewards > 0.0).double())
    return right.view(-1, num_generations).nanmean(dim=1)
