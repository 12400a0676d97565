"""EntroPIC: completions of positive advantage weigh more and those of negative less, or the other way round.

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
    Positive advantages times 1 - control, negative ones times 1 + control.

    Right completions are mostly likely already, so learning from them lowers entropy, and unlearning wrong ones raises
    it. The authors' code does so only on tokens above a probability that is not public; here it is every token.

    Args:
        low (`float`), high (`float`):
            Bounds of the control, within -1 and 1.
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
        advantages = batch.inputs["advantages"]
        return advantages * (1.0 - settings["sample_weight"] * advantages.sign())
