"""AEnt: a bonus on the entropy of the policy over its top tokens.

Source: "On Entropy Control in LLM-RL Algorithms" (arXiv 2509.03493). `clamped_head.py` has the entropy itself; a
[`DeadBandController`] moves the coefficient.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..control.base import Actuator, ActuatorArgs
from ..control.values import check_number
from .batch import MicroBatch
from .checks import check_no_other_bonus


@dataclass(frozen=True)
class ClampedBonusActuator(Actuator):
    """
    A coefficient times the token-mean clamped entropy, with gradient; the loop then holds that entropy.

    Args:
        low (`float`), high (`float`):
            Bounds of the coefficient. The defaults are the authors' for Qwen2.5-Math-1.5B on MATH.
        start (`float`):
            First value of the coefficient.
        clamp (`float`):
            Share of the vocabulary that is left out, lowest logits first, from 0 (the entropy as it is) to below 1:
            the paper's p, 0.25 to 0.33.
    """

    low: float = 6e-4
    high: float = 9e-3
    start: float = 2e-3
    clamp: float = 0.33
    alone = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("clamp", self.clamp, "a share of the vocabulary, for example 0.33", least=0, below=1)

    def initial(self, args: ActuatorArgs) -> float:
        return self.start

    def settings(self, control: float, args: ActuatorArgs) -> dict[str, float]:
        return {"clamped_bonus": control}

    def check(self, args: ActuatorArgs) -> None:
        check_no_other_bonus("clamped_bonus", args)

    def bonus(self, batch: MicroBatch, settings: Mapping[str, float]) -> Any:
        coefficient = settings["clamped_bonus"]
        if coefficient == 0.0:
            return 0.0
        return batch.token_mean(batch.entropies if batch.clamped is None else batch.clamped, coefficient)
