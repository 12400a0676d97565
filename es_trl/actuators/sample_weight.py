"""EntroPIC: opposite weights for completions with positive and with negative advantages.

Source: "EntroPIC" (arXiv 2511.15248), whose alpha is minus the control here.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from ..control.base import Actuator
from .batch import MicroBatch


@dataclass(frozen=True)
class SampleWeightActuator(Actuator):
    """
    An actuator that multiplies positive advantages by 1 - control, and negative ones by 1 + control.

    Right completions are mostly likely already, so learning from them lowers entropy. Unlearning wrong completions
    raises it. The authors' code weights only the tokens above some probability, which is not public. Here every token
    is weighted.

    Args:
        low (`float`, *optional*, defaults to `-1.0`):
            Lower bound of the control, at least -1.
        high (`float`, *optional*, defaults to `1.0`):
            Upper bound of the control, at most 1.
    """

    low: float = -1.0
    high: float = 1.0
    setting = "sample_weight"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.low < -1.0 or self.high > 1.0:
            words = f"got {self.low} and {self.high}, because beyond 1 right completions would be unlearned"
            raise ValueError(f"the bounds of sample_weight must be from -1 to 1, {words}: set both within -1 and 1")

    def advantages(self, batch: MicroBatch, settings: Mapping[str, float]) -> torch.Tensor:
        """Return the weighted advantages, in the shape that they had."""
        advantages = batch.inputs["advantages"]
        return advantages * (1.0 - settings["sample_weight"] * advantages.sign())
