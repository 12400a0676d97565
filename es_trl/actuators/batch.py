"""A rollout as actuators get it: its scores before the first update, and each micro-batch of the loss."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Scores:
    """
    A rollout when it is scored, before its first update; the same on every process.

    Tensors are of shape `(completions,)`, over all processes, the completions of a prompt in a row.
    """

    advantages: torch.Tensor
    rewards: torch.Tensor  # NaN where no function gave one
    task_rewards: torch.Tensor  # rewards without the punishment for length
    tokens: torch.Tensor  # scored tokens of each completion
    num_generations: int
    token_mean: bool  # whether the loss is a mean over tokens, not over completions
    rollout: int  # index, for messages


@dataclass(frozen=True)
class MicroBatch:
    """
    Some completions as TRL's loss has them, with log-probabilities and entropies (nats) under the present policy.

    Tensors are of shape `(batch, tokens)`. The divisors `tokens` (a scalar) and `completions` make sums over this
    micro-batch this process's share of the mean over an update.
    """

    inputs: dict[str, torch.Tensor]  # TRL's batch with the columns of `Actuator.columns`, one row per completion
    mask: torch.Tensor  # 1 where a token is scored
    logps: torch.Tensor  # with gradient
    old_logps: torch.Tensor  # under the policy that sampled
    entropies: torch.Tensor  # with gradient
    clamped: torch.Tensor | None  # with gradient, of the policy's top tokens (`Actuator.clamp`)
    clip: tuple[float, float]  # lower and upper PPO clip, offsets of the ratio from 1
    tokens: torch.Tensor
    completions: int

    def token_mean(self, entropies: torch.Tensor, coefficient: float) -> torch.Tensor:
        """Return the coefficient times this process's share of the mean over the scored tokens of the update."""
        return coefficient * (entropies * self.mask).sum() / self.tokens

    def completion_mean(self, entropies: torch.Tensor, coefficient: float, weights: torch.Tensor) -> torch.Tensor:
        """Return the coefficient times this process's share of the mean over completions of weight times token mean."""
        means = (entropies * self.mask).sum(dim=1) / self.mask.sum(dim=1).clamp(min=1.0)
        return coefficient * (weights * means).sum() / self.completions
