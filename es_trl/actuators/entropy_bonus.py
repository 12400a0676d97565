"""A signed entropy bonus."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..control.base import Actuator, ActuatorArgs
from .batch import MicroBatch
from .checks import check_no_other_bonus


@dataclass(frozen=True)
class EntropyBonusActuator(Actuator):
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

    def settings(self, control: float, args: ActuatorArgs) -> dict[str, float]:
        return {"entropy_bonus": control}

    def check(self, args: ActuatorArgs) -> None:
        check_no_other_bonus("entropy_bonus", args)

    def bonus(self, batch: MicroBatch, settings: Mapping[str, float]) -> Any:
        coefficient = settings["entropy_bonus"]
        return 0.0 if coefficient == 0.0 else batch.token_mean(batch.entropies, coefficient)
