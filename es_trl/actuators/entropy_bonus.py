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

    The coefficient that a model needs differs by a factor of hundreds: 0.001 to 0.005 with billions of parameters
    (paper, section 3.1: 0.0015), 0.1 and more with the 0.4 million of the Countdown lab. The self-tuned controller
    finds it. With gains of your own (`pid`, `sign_step`), set bounds that fit them.

    Args:
        low (`float`, *optional*, defaults to `-1.0`):
            Lower bound of the coefficient, at most 0. At -1 the bonus weighs about as much as the reward.
        high (`float`, *optional*, defaults to `1.0`):
            Upper bound of the coefficient, at least 0.
    """

    low: float = -1.0
    high: float = 1.0
    setting = "entropy_bonus"

    def mean(self, batch: MicroBatch, coefficient: float) -> torch.Tensor:
        """Return `coefficient` times this micro-batch's share of the token-mean entropy."""
        return batch.token_mean(batch.entropies, coefficient)
