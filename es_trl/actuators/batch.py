"""A rollout as actuators get it: its scores before the first update, and each micro-batch of the loss."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Scores:
    """
    A rollout when it is scored, before its first update; the same on every process.

    Args:
        advantages (`torch.Tensor`), rewards (`torch.Tensor`), answers (`torch.Tensor`), all of shape `(completions,)`:
            Advantages, rewards, and rewards without the punishment for length, of all processes, the completions of a
            prompt in a row. A reward is NaN where no function gave one.
        tokens (`torch.Tensor` of shape `(completions,)`):
            Scored tokens of each completion.
        num_generations (`int`):
            Completions per prompt.
        token_mean (`bool`):
            Whether the loss is a mean over tokens, not over completions.
        rollout (`int`):
            Index of the rollout, for messages.
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
        mask (`torch.Tensor` of shape `(batch, tokens)`):
            1 where a token is scored.
        logps (`torch.Tensor`), old_logps (`torch.Tensor`), both of shape `(batch, tokens)`:
            Log-probabilities under the present policy, with gradient, and under the policy that sampled.
        entropies (`torch.Tensor`), clamped (`torch.Tensor`, *optional*), both of shape `(batch, tokens)`:
            Entropies with gradient, of the policy and of its top tokens ([`Actuator.clamp`]), nats.
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
        """
        Return the coefficient times this process's share of the mean over completions of weight times token mean.

        Args:
            weights (`torch.Tensor` of shape `(batch,)`):
                Weight of each completion.
        """
        means = (entropies * self.mask).sum(dim=1) / self.mask.sum(dim=1).clamp(min=1.0)
        return coefficient * (weights * means).sum() / self.completions
