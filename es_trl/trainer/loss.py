"""What actuators add to TRL's loss: other advantages, and a bonus."""

from typing import Any

import torch
from accelerate import Accelerator
from trl import GRPOTrainer

from ..actuators.actuation import Actuation
from ..actuators.batch import MicroBatch, Scores
from ..curriculum.dynamic_sampling import weighted_sums
from .sensor import completion_mask


class ActuatedLoss:
    """
    One computation of TRL's loss, and what actuators make of it.

    TRL asks for the policy's log-probabilities before it reads the advantages. So an actuator, which may need the
    former, sets the latter in between: [`see`] is called by the policy's forward pass.

    Args:
        trainer (`GRPOTrainer`), inputs (`dict[str, torch.Tensor]`):
            The trainer, whose clip bounds and sizes count now, and TRL's micro-batch, one row per completion.
        actuation (`Actuation`), parts (`int`):
            What is to be actuated, and how many parts share one of TRL's micro-batches.
    """

    def __init__(self, trainer: GRPOTrainer, inputs: dict[str, Any], actuation: Actuation, parts: int):
        self.inputs = dict(inputs)
        self.batch: MicroBatch | None = None  # until the policy's forward pass
        self._actuation = actuation
        self._clip = (trainer.epsilon_low, trainer.epsilon_high)
        # TRL's token count spans the rollout: a token weighs the same in every micro-batch and on every process.
        updates = trainer.args.steps_per_generation / trainer.current_gradient_accumulation_steps
        self._tokens = inputs["num_items_in_batch"].clamp(min=1.0) / trainer.accelerator.num_processes / updates
        self._micro_batches = trainer.current_gradient_accumulation_steps * parts

    def see(self, logps: torch.Tensor, entropies: torch.Tensor, clamped: torch.Tensor | None) -> None:
        """Take log-probabilities and entropies, `(batch, tokens)`, and set the advantages that TRL reads next."""
        self.batch = MicroBatch(
            inputs=self.inputs,
            mask=completion_mask(self.inputs),
            logps=logps,
            old_logps=self.inputs.get("old_per_token_logps", logps.detach()),
            entropies=entropies,
            clamped=clamped,
            clip=self._clip,
            tokens=self._tokens,
            completions=len(logps) * self._micro_batches,
        )
        advantages = self._actuation.advantages(self.batch)
        if advantages.dim() > 2 or len(advantages) != len(logps):
            shape = tuple(advantages.shape)
            raise ValueError(f"`advantages` of an actuator must have one row per completion, got {shape}: correct it")
        self.inputs["advantages"] = advantages

    def bonus(self) -> torch.Tensor | float:
        """Return what the objective of this micro-batch gains."""
        return self._actuation.bonus(self.batch)


def scores_of(
    trainer: GRPOTrainer, batch: dict[str, Any], rewards: torch.Tensor, rollout: int, num_task_rewards: int
) -> Scores:
    """
    Return the scores of a rollout, of all processes.

    `batch` is of this process, `rewards` are of all, `(completions, reward functions)`. The first `num_task_rewards`
    reward functions judge what was written, and not its length.
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
    """Return what this process has of columns of all processes, of which each has as many `rows`."""
    first = accelerator.process_index * rows
    return {name: column[first : first + rows] for name, column in columns.items()}
