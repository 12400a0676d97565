"""AER-style: an entropy bonus per prompt, larger where fewer of its completions are right.

Source: "Revisiting Entropy Regularization: Adaptive Coefficient Unlocks Its Potential for LLM Reinforcement Learning"
(arXiv 2510.10959). Its formulas were not reachable: this is a reconstruction from the abstract and secondary sources.
"""

from dataclasses import dataclass
from typing import Literal

import torch

from ..control.base import ActuatorArgs
from ..control.values import check_choice, check_number
from .batch import MicroBatch, Scores
from .bonus import BonusActuator


@dataclass(frozen=True)
class DifficultyBonusActuator(BonusActuator):
    """
    A coefficient times the mean over completions of difficulty times token-mean entropy, with gradient.

    Args:
        low (`float`), high (`float`):
            Bounds of the coefficient, from 0. They follow the neighbouring methods' code, not the paper.
        rho (`float`):
            Success rate from which on a prompt gets no bonus, above 0 and at most 1 (the paper's value is not known).
        difficulty (`"linear"` or `"hard"`):
            How the bonus depends on the success rate below rho: falling to 0 at rho, or all of it up to rho.
    """

    low: float = 0.0
    high: float = 0.01
    rho: float = 0.5
    difficulty: Literal["linear", "hard"] = "linear"
    setting = "difficulty_bonus"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("rho", self.rho, "a success rate, for example 0.5", above=0, most=1)
        check_choice("difficulty", self.difficulty, ("linear", "hard"))

    def columns(self, scores: Scores, args: ActuatorArgs) -> dict[str, torch.Tensor]:
        rates = success_rates(scores.task_rewards, scores.num_generations)
        weights = difficulty_weights(rates, self.rho, self.difficulty)
        return {"difficulty": weights.repeat_interleave(scores.num_generations)}

    def mean(self, batch: MicroBatch, coefficient: float) -> torch.Tensor:
        return batch.completion_mean(batch.entropies, coefficient, batch.inputs["difficulty"])


def success_rates(rewards: torch.Tensor, num_generations: int) -> torch.Tensor:
    """
    Return the share of each prompt's completions that have a reward above 0, of shape `(prompts,)`.

    A completion without a reward, NaN, does not count. A prompt without any reward counts as right and gets no bonus.
    """
    right = torch.where(rewards.isnan(), rewards, (rewards > 0.0).to(rewards.dtype))
    return right.view(-1, num_generations).nanmean(dim=1).nan_to_num(1.0)


def difficulty_weights(rates: torch.Tensor, rho: float, form: str) -> torch.Tensor:
    """Return weights of success rates g: max(0, (rho - g) / rho), or for `"hard"` 1 where g <= rho and 0 elsewhere."""
    return (rates <= rho).float() if form == "hard" else ((rho - rates) / rho).clamp(min=0.0)
