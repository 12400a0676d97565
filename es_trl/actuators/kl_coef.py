"""The coefficient of the KL penalty."""

from dataclasses import dataclass

from ..control.base import Actuator, ActuatorArgs
from .checks import check_bounds, check_initial, check_loss


@dataclass(frozen=True)
class KLCoefActuator(Actuator):
    """
    The coefficient of the KL penalty towards the reference model, TRL's `beta` (paper, Fig. 2: 0.005 slows the fall).

    More of it holds the policy at the entropy of the reference, so it cannot lead above that.

    Args:
        low (`float`), high (`float`):
            Bounds of `beta`, above 0: with `beta` at 0 TRL makes no pass of the reference model.
    """

    low: float = 0.0001
    high: float = 0.1

    def __post_init__(self):
        check_bounds(self)
        if self.low <= 0.0:
            raise ValueError(f"`low` is {self.low}, and TRL leaves the reference model out where beta is 0: set 0.0001")

    def initial(self, args: ActuatorArgs) -> float:
        return args.beta

    def settings(self, control: float, args: ActuatorArgs) -> dict[str, float]:
        return {"beta": control}

    def check(self, args: ActuatorArgs) -> None:
        check_loss(args)
        if args.beta == 0.0:
            raise ValueError(
                "kl_coef has no authority with beta=0, because no reference model is loaded then: set beta, for "
                "example 0.005"
            )
        check_initial(self, "beta", args)
