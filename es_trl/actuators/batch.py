"""A rollout as actuators get it: its scores before the first update, and each micro-batch of the loss."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Scores:
    """
    A rollout when it is scored, before its first update; the same on every process.

    Args:
        advantages, rewards, answers, tokens (`torch.Tensor` of shape `(completions,)`):
            Advantages, rewards, rewards without the punishment for length, and scored tokens, of all processes, the
            completions of a prompt in a row. A reward is NaN where no function gave one.
        num_generations (`int`):
            Completions per prompt.
        token_mean (`bool`):
            Whether the loss is a mean over tokens, not over completions.
    """

    advantages: torch.Tensor
    rewards: torch.Tensor
    answers: torch.Tensor
    tokens: torch.Tensor
    num_generations: int
    token_mean: bool
    rollout: int


@dataclass(frozen=True)
class MicroBatch:
    """
    Some completions as TRL's loss has them, with their log-probabilities and entropies under the present policy.

    Args:
        inputs (`dict[str, torch.Tensor]`):
            TRL's batch, with the columns that [`Actuator.columns`] added, one row per completion.
        mask, logps, old_logps (`torch.Tensor` of shape `(batch, tokens)`):
            1 where a token is scored, and log-probabilities, with gradient, and under the policy that sampled.
        entropies, clamped (`torch.Tensor` of shape `(batch, tokens)`):
            Entropies with gradient, of the policy and, where one is read, of its top tokens, nats.
        clip (`tuple[float, float]`):
            Lower and upper PPO clip, offsets of the ratio from 1.
        tokens (`torch.Tensor`), completions (`int`):
            Divisors of sums over this micro-batch, which make them this process's share of the mean over an update.
    """

    inputs: dict[str, torch.Tensor]
    mask: torch.Tensor
    logps: torch.Tensor
    old_logps: torch.Tensor
    entropies: torch.Tensor
    clamped: torch.Tensor | None
    clip: tuple[float, float]
    tokens: torch.Tensor
    completions: int

    def token_mean(self, entropies: torch.Tensor, coefficient: float) -> torch.Tensor:
        """Return the coefficient times this process's share of the mean over the scored tokens of the update."""
        return coefficient * (entropies * self.mask).sum() / self.tokens

    def completion_mean(self, entropies: torch.Tensor, coefficient: float, weights: torch.Tensor) -> torch.Tensor:
        """Return the coefficient times this process's share of the mean over completions of weight times token mean."""
        means = (entropies * self.mask).sum(dim=1) / self.mask.sum(dim=1).clamp(min=1.0)
        return coefficient * (weights * means).sum() / self.completions
