"""The coefficient of the KL penalty."""

from dataclasses import dataclass

from ..control.base import Actuator, ActuatorArgs
from ..control.values import check_number


@dataclass(frozen=True)
class KLCoefActuator(Actuator):
    """
    The coefficient of the KL penalty towards the reference model, TRL's `beta` (paper, Fig. 2: 0.005 slows the fall).

    More of it holds the policy at the entropy of the reference, so it cannot lead above that.

    Args:
        low (`float`), high (`float`):
            Bounds of `beta`, above 0: TRL loads no reference model where `beta` is 0.
    """

    low: float = 0.0001
    high: float = 0.1
    setting = "beta"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("low", self.low, "0.0001, because TRL loads no reference model where beta is 0", above=0)

    def initial(self, args: ActuatorArgs) -> float:
        return args.beta

    def check(self, args: ActuatorArgs) -> None:
        if args.beta == 0.0:
            words = "because no reference model is loaded then: set beta, for example 0.005"
            raise ValueError(f"kl_coef has no authority with beta=0, {words}")
