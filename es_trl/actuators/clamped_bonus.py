"""AEnt: a bonus on the entropy of the policy over its top tokens.

Source: "On Entropy Control in LLM-RL Algorithms" (arXiv 2509.03493). `clamped_head.py` has the entropy itself.
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
    A coefficient times the token-mean clamped entropy, with gradient; the loop then holds that entropy.

    Args:
        low (`float`), high (`float`), start (`float`):
            Bounds and first value of the coefficient; the authors' for Qwen2.5-Math-1.5B on MATH.
        clamp (`float`):
            Share of the vocabulary that is left out, lowest logits first, from 0 (the entropy as it is) to below 1:
            the paper's p, 0.25 to 0.33.
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
        return self.start

    def mean(self, batch: MicroBatch, coefficient: float) -> torch.Tensor:
        return batch.token_mean(batch.entropies if batch.clamped is None else batch.clamped, coefficient)
