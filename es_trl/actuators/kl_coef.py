"""An actuator for the coefficient of the KL penalty."""

from dataclasses import dataclass

from ..control.base import Actuator, ActuatorArgs
from ..control.values import check_number


@dataclass(frozen=True)
class KLCoefActuator(Actuator):
    """
    An actuator that moves `beta`, the coefficient of TRL's KL penalty towards the reference model.

    A larger `beta` holds entropy closer to that of the reference model, so it cannot raise entropy above that. In the
    paper (Fig. 2), 0.005 slows the fall of entropy.

    Args:
        low (`float`, *optional*, defaults to `0.0001`):
            Lower bound of `beta`, above 0, because TRL loads no reference model if `beta` is 0.
        high (`float`, *optional*, defaults to `0.1`):
            Upper bound of `beta`.
    """

    low: float = 0.0001
    high: float = 0.1
    setting = "beta"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("low", self.low, "0.0001, because TRL loads no reference model if beta is 0", above=0)

    def initial(self, args: ActuatorArgs) -> float:
        """Return the configured `beta`."""
        return args.beta

    def check(self, args: ActuatorArgs) -> None:
        """Raise `ValueError` if `beta` is 0."""
        if args.beta == 0.0:
            words = "because no reference model is loaded then: set beta, for example 0.005"
            raise ValueError(f"kl_coef has no authority with beta=0, {words}")
