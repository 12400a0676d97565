"""The changes that actuators make to TRL's loss: another clip, other advantages, and a bonus."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from trl import GRPOTrainer

from ..actuators.actuation import Actuation
from ..actuators.batch import MicroBatch, Scores
from ..curriculum.scored import weighted_sums
from .forward import LogProbs
from .sensor import completion_mask


@dataclass(frozen=True)
class OpenLoss:
    """
    A loss that TRL is computing.

    Args:
        actuated (`ActuatedLoss`):
            The changes of the actuators.
        log_probs (`Callable`):
            Returns what the policy says about the micro-batch; it takes the model and TRL's other arguments.
    """

    actuated: "ActuatedLoss"
    log_probs: Callable[..., LogProbs]


class ActuatedLoss:
    """
    One computation of TRL's loss, with the changes of the actuators.

    TRL computes the policy's log-probabilities before it reads the clip and the advantages. An actuator may need the
    log-probabilities to set these, so the policy's forward pass calls [`see`] in between.

    Args:
        trainer (`GRPOTrainer`):
            The trainer, with its present clip bounds and sizes.
        inputs (`dict[str, torch.Tensor]`):
            TRL's micro-batch, one row per completion.
        actuation (`Actuation`):
            The actuators with their settings.
        completions (`int`):
            Number of completions of the update on each process.
    """

    def __init__(self, trainer: GRPOTrainer, inputs: dict[str, Any], actuation: Actuation, completions: int):
        self.inputs = dict(inputs)
        self.batch: MicroBatch | None = None  # until the policy's forward pass
        self._actuation = actuation
        self.clip: tuple[Any, Any] = (trainer.epsilon_low, trainer.epsilon_high)  # what TRL reads after `see`
        # TRL counts the tokens of the whole rollout, so that a token has the same weight in every micro-batch and on
        # every process. This is the share of one update and one process.
        updates = trainer.args.steps_per_generation / trainer.current_gradient_accumulation_steps
        self._tokens = inputs["num_items_in_batch"].clamp(min=1.0) / trainer.accelerator.num_processes / updates
        self._completions = completions

    def see(self, logps: torch.Tensor, entropies: torch.Tensor, clamped: torch.Tensor | None) -> None:
        """Set the clip and the advantages that TRL reads next, from what the policy says, all `(batch, tokens)`."""
        self.batch = MicroBatch(
            inputs=self.inputs,
            mask=completion_mask(self.inputs),
            logps=logps,
            old_logps=self.inputs.get("old_per_token_logps", logps.detach()),
            entropies=entropies,
            clamped=clamped,
            clip=self.clip,
            tokens=self._tokens,
            completions=self._completions,
        )
        self.clip = self._actuation.clip(self.batch)
        advantages = self._actuation.advantages(self.batch)
        if advantages.dim() > 2 or len(advantages) != len(logps):
            shape = tuple(advantages.shape)
            raise ValueError(
                f"`advantages` of an actuator must have shape ({len(logps)},) or ({len(logps)}, tokens), got {shape}: "
                "return one row per completion"
            )
        self.inputs["advantages"] = advantages

    def bonus(self) -> torch.Tensor | float:
        """Return the bonus to add to the objective of this micro-batch, that is, to subtract from its loss."""
        return self._actuation.bonus(self.batch)


def scores_of(
    trainer: GRPOTrainer, batch: dict[str, Any], rewards: torch.Tensor, rollout: int, num_task_rewards: int
) -> Scores:
    """
    Return the scores of a rollout over all processes.

    Args:
        trainer (`GRPOTrainer`):
            The trainer, for its reward weights, sizes and loss type.
        batch (`dict[str, torch.Tensor]`):
            The rollout's rows on this process.
        rewards (`torch.Tensor` of shape `(completions, reward functions)`):
            Rewards on all processes.
        rollout (`int`):
            Index of the rollout.
        num_task_rewards (`int`):
            Number of reward functions without the soft overlong punishment, which is the last one.
    """
    own = torch.stack([batch["advantages"].float(), completion_mask(batch).sum(dim=1).float()], dim=1)
    advantages, tokens = trainer.accelerator.gather(own).unbind(dim=1)
    weights = trainer.reward_weights
    return Scores(
        advantages=advantages,
        rewards=weighted_sums(rewards, weights).squeeze(1),
        task_rewards=weighted_sums(rewards[:, :num_task_rewards], weights[:num_task_rewards]).squeeze(1),
        tokens=tokens,
        num_generations=trainer.num_generations,
        token_mean=trainer.loss_type in ("bnpo", "cispo", "dapo", "vespo"),
        rollout=rollout,
    )


def own_rows(columns: dict[str, torch.Tensor], rows: int, accelerator: Accelerator) -> dict[str, torch.Tensor]:
    """Return this process's rows of `columns`, which hold the rows of all processes; each process has `rows` rows."""
    first = accelerator.process_index * rows
    return {name: column[first : first + rows] for name, column in columns.items()}
