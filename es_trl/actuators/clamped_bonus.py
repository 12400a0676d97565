"""AEnt: a bonus on the entropy of the policy over its top tokens.

Source: "On Entropy Control in LLM-RL Algorithms" (arXiv 2509.03493). `clamped_head.py` computes this entropy.
"""

from dataclasses import dataclass

import torch

from ..control.base import ActuatorArgs
from ..control.values import check_number
from .batch import MicroBatch
from .bonus import BonusActuator


@dataclass(frozen=True)
class ClampedBonusActuator(BonusActuator):
    """
    An actuator that adds a coefficient times the token-mean clamped entropy to the objective.

    The clamped entropy leaves out the tokens with the lowest logits. It is also the entropy that the loop measures and
    controls. The defaults of the coefficient are the authors' for Qwen2.5-Math-1.5B on MATH.

    Args:
        low (`float`, *optional*, defaults to `6e-4`):
            Lower bound of the coefficient.
        high (`float`, *optional*, defaults to `9e-3`):
            Upper bound of the coefficient.
        start (`float`, *optional*, defaults to `2e-3`):
            First value of the coefficient, within the bounds.
        clamp (`float`, *optional*, defaults to `0.33`):
            Share of the vocabulary that is left out, from 0 (the full entropy) to below 1. It is the paper's p, which
            is 0.25 to 0.33.
    """

    low: float = 6e-4
    high: float = 9e-3
    start: float = 2e-3
    clamp: float = 0.33
    setting = "clamped_bonus"
    alone = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("clamp", self.clamp, "a share of the vocabulary, for example 0.33", least=0, below=1)

    def initial(self, args: ActuatorArgs) -> float:
        """Return `start`."""
        return self.start

    def mean(self, batch: MicroBatch, coefficient: float) -> torch.Tensor:
        """Return `coefficient` times this micro-batch's share of the token-mean clamped entropy."""
        return batch.token_mean(batch.entropies if batch.clamped is None else batch.clamped, coefficient)
