"""The data that actuators receive: the scores of a rollout, and the micro-batches of the loss."""

from dataclasses import dataclass

import torch


NO_CLIP = 1e9  # an upper clip that no ratio reaches
FAR = 20.0  # largest change in nats of a token's log-probability; beyond it, one over the ratio could overflow


@dataclass(frozen=True)
class Scores:
    """
    The scores of a rollout before its first update, the same on every process.

    Tensors have the shape `(completions,)` and cover all processes. The completions of a prompt follow each other.

    Args:
        advantages (`torch.Tensor`):
            Advantages.
        rewards (`torch.Tensor`):
            Weighted sums of the rewards; NaN if no reward function gave one.
        task_rewards (`torch.Tensor`):
            The same without the overlong punishment.
        tokens (`torch.Tensor`):
            Number of scored tokens of each completion.
        num_generations (`int`):
            Completions per prompt.
        token_mean (`bool`):
            Whether the loss is a mean over tokens; otherwise it is a mean over completions.
        rollout (`int`):
            Index of the rollout from 0, for messages.
    """

    advantages: torch.Tensor
    rewards: torch.Tensor
    task_rewards: torch.Tensor
    tokens: torch.Tensor
    num_generations: int
    token_mean: bool
    rollout: int


@dataclass(frozen=True)
class MicroBatch:
    """
    The completions of one micro-batch in TRL's loss.

    Tensors have the shape `(batch, tokens)` unless an entry says otherwise.

    Args:
        inputs (`dict[str, torch.Tensor]`):
            TRL's batch and the columns of `Actuator.columns`, one row per completion.
        mask (`torch.Tensor`):
            1 where a token is scored, 0 elsewhere.
        logps (`torch.Tensor`):
            Log-probabilities of the tokens under the present policy, with gradient.
        old_logps (`torch.Tensor`):
            Log-probabilities of the tokens under the policy that sampled them.
        entropies (`torch.Tensor`):
            Entropies of the present policy in nats, with gradient.
        clamped (`torch.Tensor`, *optional*):
            Entropies over the top tokens of the vocabulary in nats, with gradient; `None` if no actuator sets
            `Actuator.clamp`.
        clip (`tuple[float, float]`):
            Lower and upper PPO clip of the trainer, as offsets of the ratio from 1.
        tokens (`torch.Tensor`):
            Scalar. A sum over the tokens of this micro-batch, divided by it, is this process's share of the mean over
            the update.
        completions (`int`):
            The same divisor for a sum over completions.
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
        """
        Return `coefficient` times the mean of `entropies` over the scored tokens of the update.

        Args:
            entropies (`torch.Tensor` of shape `(batch, tokens)`):
                Values to average.
            coefficient (`float`):
                Factor.

        Returns:
            `torch.Tensor`: a scalar, this micro-batch's and this process's share of the mean.
        """
        return coefficient * (entropies * self.mask).sum() / self.tokens

    def completion_mean(self, entropies: torch.Tensor, coefficient: float, weights: torch.Tensor) -> torch.Tensor:
        """
        Return `coefficient` times the weighted mean over the completions of the update.

        The value of a completion is the mean of `entropies` over its scored tokens.

        Args:
            entropies (`torch.Tensor` of shape `(batch, tokens)`):
                Values to average.
            coefficient (`float`):
                Factor.
            weights (`torch.Tensor` of shape `(batch,)`):
                Factor of each completion.

        Returns:
            `torch.Tensor`: a scalar, this micro-batch's and this process's share of the mean.
        """
        means = (entropies * self.mask).sum(dim=1) / self.mask.sum(dim=1).clamp(min=1.0)
        return coefficient * (weights * means).sum() / self.completions


def per_token(advantages: torch.Tensor, logps: torch.Tensor) -> torch.Tensor:
    """Return the advantages with the shape `(batch, tokens)` of `logps`, repeated over tokens if necessary."""
    return (advantages.unsqueeze(1) if advantages.dim() == 1 else advantages).expand_as(logps)
