"""A signed entropy bonus."""

from dataclasses import dataclass

import torch

from .batch import MicroBatch
from .bonus import BonusActuator


@dataclass(frozen=True)
class EntropyBonusActuator(BonusActuator):
    """
    An actuator that adds a signed coefficient times the token-mean entropy to the objective.

    The coefficient is the control; a negative one lowers entropy. The bonus is added outside TRL's loss, so it has the
    same meaning for every `loss_type`, and it acts in every geometry.

    For models with billions of parameters, coefficients of 0.001 to 0.005 are enough (paper, section 3.1: 0.0015). The
    small model of the Countdown lab needs 0.1 and more.

    Args:
        low (`float`, *optional*, defaults to `-0.02`):
            Lower bound of the coefficient, at most 0.
        high (`float`, *optional*, defaults to `0.02`):
            Upper bound of the coefficient, at least 0.
    """

    low: float = -0.02
    high: float = 0.02
    setting = "entropy_bonus"

    def mean(self, batch: MicroBatch, coefficient: float) -> torch.Tensor:
        """Return `coefficient` times this micro-batch's share of the token-mean entropy."""
        return batch.token_mean(batch.entropies, coefficient)
