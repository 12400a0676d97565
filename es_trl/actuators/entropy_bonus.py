"""A signed entropy bonus."""

from dataclasses import dataclass

import torch

from .batch import MicroBatch
from .bonus import BonusActuator


@dataclass(frozen=True)
class EntropyBonusActuator(BonusActuator):
    """
    A signed coefficient times the token-mean entropy, added to the objective around TRL's loss.

    It means the same for every `loss_type` and acts in every geometry. A negative coefficient lowers entropy.

    Args:
        low (`float`), high (`float`):
            Bounds of the coefficient, around 0. Models of billions of parameters are moved by 0.001 to 0.005 (paper,
            section 3.1: 0.0015), the Countdown lab by 0.1 and more.
    """

    low: float = -0.02
    high: float = 0.02
    setting = "entropy_bonus"

    def mean(self, batch: MicroBatch, coefficient: float) -> torch.Tensor:
        return batch.token_mean(batch.entropies, coefficient)
