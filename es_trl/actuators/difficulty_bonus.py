"""An entropy bonus in the style of AER, which is larger for prompts with fewer right completions.

Source: "Revisiting Entropy Regularization: Adaptive Coefficient Unlocks Its Potential for LLM Reinforcement Learning"
(arXiv 2510.10959). The formulas are a reconstruction from the abstract and from secondary sources, because the paper's
own formulas were not available.
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
    An actuator that adds an entropy bonus whose size depends on the difficulty of the prompt.

    The bonus is a coefficient times the mean over completions of difficulty times token-mean entropy. The coefficient
    is the control.

    Args:
        low (`float`, *optional*, defaults to `0.0`):
            Lower bound of the coefficient, at most 0, because the coefficient starts at 0.
        high (`float`, *optional*, defaults to `0.01`):
            Upper bound of the coefficient. The default follows the code of similar methods, not the paper.
        rho (`float`, *optional*, defaults to `0.5`):
            Success rate above which a prompt gets no bonus, above 0 and at most 1. The paper's value is not known.
        difficulty (`"linear"` or `"hard"`, *optional*, defaults to `"linear"`):
            Difficulty as a function of the success rate. `"linear"` falls from 1 at rate 0 to 0 at `rho`; `"hard"` is 1
            up to `rho` and 0 above it.
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
        """Return the column `difficulty`, one value per completion."""
        rates = success_rates(scores.task_rewards, scores.num_generations)
        weights = difficulty_weights(rates, self.rho, self.difficulty)
        return {"difficulty": weights.repeat_interleave(scores.num_generations)}

    def mean(self, batch: MicroBatch, coefficient: float) -> torch.Tensor:
        """Return `coefficient` times this micro-batch's share of the mean of difficulty times entropy."""
        return batch.completion_mean(batch.entropies, coefficient, batch.inputs["difficulty"])


def success_rates(rewards: torch.Tensor, num_generations: int) -> torch.Tensor:
    """
    Return the share of each prompt's completions that have a reward above 0, of shape `(prompts,)`.

    A completion without a reward (NaN) does not count. A prompt without any reward has the rate 1.
    """
    right = torch.where(rewards.isnan(), rewards, (rewards > 0.0).to(rewards.dtype))
    return right.view(-1, num_generations).nanmean(dim=1).nan_to_num(1.0)


def difficulty_weights(rates: torch.Tensor, rho: float, form: str) -> torch.Tensor:
    """
    Return the difficulty for each success rate g.

    For `"linear"` it is max(0, (rho - g) / rho). For `"hard"` it is 1 where g <= rho, and 0 elsewhere.
    """
    return (rates <= rho).float() if form == "hard" else ((rho - rates) / rho).clamp(min=0.0)
