"""What the trainer asks of an actuator that acts on tensors, and what it shows it."""

from dataclasses import dataclass
from typing import Any

import torch

from ..control.base import ActuatorArgs
from ..tracking.history import RolloutRecord
from .checks import check_initial, check_loss


@dataclass(frozen=True)
class Scores:
    """
    A rollout when it is scored, before its first update; the same on every process.

    Args:
        advantages (`torch.Tensor`), rewards (`torch.Tensor`), answers (`torch.Tensor`), all of shape `(completions,)`:
            Of all processes, the completions of a prompt in a row. A reward is NaN where no function gave one;
            `answers` are rewards without the punishment for length.
        tokens (`torch.Tensor` of shape `(completions,)`):
            Scored tokens of each.
        num_generations (`int`):
            Completions of each prompt.
        token_mean (`bool`):
            Whether the loss is a mean over tokens, and not one over completions.
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
    What TRL's loss sees of some completions, with the present policy's view of them.

    Args:
        inputs (`dict[str, torch.Tensor]`):
            TRL's batch, with the columns that [`Effect.columns`] added, one row a completion.
        mask (`torch.Tensor` of shape `(batch, tokens)`):
            1 where a token is scored.
        logps (`torch.Tensor`), old_logps (`torch.Tensor`), both of shape `(batch, tokens)`:
            Log-probabilities under the policy as it is, with gradient, and as it sampled.
        entropies (`torch.Tensor`), clamped (`torch.Tensor`, *optional*), both of shape `(batch, tokens)`:
            Entropies with gradient, of the policy and of its top tokens ([`Effect.clamp`]), nats.
        clip (`tuple[float, float]`):
            The lower and upper PPO clip, offsets of the ratio from 1.
        tokens (`torch.Tensor`), completions (`int`):
            What the sums over this micro-batch are divided by for this process's share of the mean over an update.
        bonus_scale (`float`):
            What every coefficient of an entropy bonus is multiplied by.
        record (`RolloutRecord`):
            The history's record of the rollout.
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
    bonus_scale: float
    record: RolloutRecord

    def token_mean(self, entropies: torch.Tensor, coefficient: float) -> torch.Tensor:
        """A bonus: the coefficient times this process's share of the mean over the scored tokens of the update."""
        return self.bonus_scale * coefficient * (entropies * self.mask).sum() / self.tokens

    def completion_mean(self, entropies: torch.Tensor, coefficient: float, weights: torch.Tensor) -> torch.Tensor:
        """The same of the mean over completions of each one's token mean times its weight, `(batch,)`."""
        means = (entropies * self.mask).sum(dim=1) / self.mask.sum(dim=1).clamp(min=1.0)
        return self.bonus_scale * coefficient * (weights * means).sum() / self.completions


class Effect:
    """
    An actuator that acts on tensors.

    A subclass is a frozen dataclass with `low`, `high` and `settings`, as in [`~actuators.Actuator`], and overrides
    what it needs of the rest. What `advantages` and `bonus` get as `settings` are the trainer attributes as they are.
    """

    low: float
    high: float

    clamp: float = 0.0
    """Share of the vocabulary, lowest logits first, that the entropy leaves out which the loop holds."""

    alone: bool = False
    """Whether it acts at the control it begins with, and so cannot wait in a chain."""

    needs_sign: bool = False
    """Whether it goes by the sign of the control, and so needs a controller that gives one."""

    def initial(self, args: ActuatorArgs) -> float:
        """The control at which nothing is changed, 0."""
        return 0.0

    def settings(self, control: float, args: ActuatorArgs) -> dict[str, float]:
        """Trainer attribute to value, by a name of its own. More control means more entropy."""
        raise NotImplementedError

    def check(self, args: ActuatorArgs) -> None:
        """Raise `ValueError` where the effect has no authority, or its control begins outside of its bounds."""
        check_loss(args)
        check_initial(self, "the control", args)

    def columns(self, scores: Scores, args: ActuatorArgs) -> dict[str, torch.Tensor]:
        """Columns for the batch, one row a completion of all processes; each goes with its completion."""
        return {}

    def advantages(self, batch: MicroBatch, settings: dict[str, float]) -> torch.Tensor:
        """Advantages of shape `(batch,)` or `(batch, tokens)` in the place of `batch.inputs["advantages"]`."""
        return batch.inputs["advantages"]

    def bonus(self, batch: MicroBatch, settings: dict[str, float]) -> Any:
        """What is added to the objective of this micro-batch, a tensor with gradient or 0."""
        return 0.0
