"""AER-style: an entropy bonus per prompt, larger where fewer of its completions are right.

Source: "Revisiting Entropy Regularization: Adaptive Coefficient Unlocks Its Potential for LLM Reinforcement Learning"
(arXiv 2510.10959). Its formulas were not reachable: this is a reconstruction from the abstract and from
secondary sources, with one function per part. The target relative to the first rollout's entropy is a schedule with
`relative: true`, and the global coefficient a [`DeadBandController`] without a band.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch

from ..control.base import Actuator, ActuatorArgs
from ..control.values import check_choice, check_number
from .batch import MicroBatch, Scores
from .checks import check_no_other_bonus


@dataclass(frozen=True)
class DifficultyBonusActuator(Actuator):
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

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("rho", self.rho, "a success rate, for example 0.5", above=0, most=1)
        check_choice("difficulty", self.difficulty, ("linear", "hard"))

    def settings(self, control: float, args: ActuatorArgs) -> dict[str, float]:
        return {"difficulty_bonus": control}

    def check(self, args: ActuatorArgs) -> None:
        check_no_other_bonus("difficulty_bonus", args)

    def columns(self, scores: Scores, args: ActuatorArgs) -> dict[str, torch.Tensor]:
        rates = success_rates(scores.answers, scores.num_generations)
        weights = difficulty_weights(rates, self.rho, self.difficulty)
        return {"difficulty": weights.repeat_interleave(scores.num_generations)}

    def bonus(self, batch: MicroBatch, settings: Mapping[str, float]) -> Any:
        coefficient = settings["difficulty_bonus"]
        if coefficient == 0.0:
            return 0.0
        return batch.completion_mean(batch.entropies, coefficient, batch.inputs["difficulty"])


def success_rates(rewards: torch.Tensor, num_generations: int) -> torch.Tensor:
    """
    Return the share of each prompt's completions that are right: those with a reward above 0, of ±1 or 0/1 rewards.

    A completion without a reward does not count. A prompt without any reward counts as right and gets no bonus.

    Args:
        rewards (`torch.Tensor` of shape `(prompts * num_generations,)`):
            The completions of a prompt in a row; NaN where there is none.
        num_generations (`int`):
            Completions of each prompt.

    Returns:
        `torch.Tensor` of shape `(prompts,)`.
    """
    right = torch.where(rewards.isnan(), rewards, (rewards > 0.0).to(rewards.dtype))
    return right.view(-1, num_generations).nanmean(dim=1).nan_to_num(1.0)


def difficulty_weights(rates: torch.Tensor, rho: float, form: str) -> torch.Tensor:
    """
    Return weights from 1, for a prompt without any right completion, down to 0.

    Args:
        rates (`torch.Tensor` of shape `(prompts,)`):
            Success rates g.
        rho (`float`), form (`str`):
            `"linear"`: max(0, (rho - g) / rho). `"hard"`: 1 where g <= rho, 0 elsewhere.
    """
    if form == "hard":
        return (rates <= rho).float()
    return ((rho - rates) / rho).clamp(min=0.0)
