"""The PPO clip bounds, one or both."""

import math
from dataclasses import dataclass

from ..control.base import Actuator, ActuatorArgs
from ..control.values import check_number
from .checks import CLIPPED_LOSSES, check_clip_binds, configured_epsilon_high


@dataclass(frozen=True)
class ClipHighActuator(Actuator):
    """
    The upper PPO clip bound, `epsilon_high` (clip-higher; what the paper's Algorithm 1 moves).

    Args:
        low (`float`), high (`float`):
            Bounds of `epsilon_high`, above 0. For `loss_type="cispo"`, where it is a cap on the ratio and not an
            offset from 1, both are above 1.
    """

    low: float = 0.10
    high: float = 0.40
    setting = "epsilon_high"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("low", self.low, "0.10", above=0)

    def initial(self, args: ActuatorArgs) -> float:
        return configured_epsilon_high(args)

    def check(self, args: ActuatorArgs) -> None:
        check_clip_binds("clip_high", args, (*CLIPPED_LOSSES, "cispo"))
        if args.loss_type == "cispo" and self.low <= 1.0:
            raise ValueError(
                f"the bounds of clip_high must be > 1 with loss_type='cispo', got {self.low} and {self.high}, because "
                "it is a cap on the ratio there: set for example 2 and 8, with epsilon_high: 5, or loss_type: dapo"
            )
        if args.importance_sampling_level == "sequence" and self.high > 0.01:
            raise ValueError(
                f"`high` of clip_high must be <= 0.01 with importance_sampling_level='sequence', got {self.high}: set "
                "`low`, `high` and epsilon_high near 3e-4, or importance_sampling_level: token"
            )
        if args.delta is not None and args.loss_type != "cispo" and self.high > args.delta - 1.0:
            words = f"got {self.high} with delta={args.delta}: set it to at most {args.delta - 1.0:g}, or raise delta"
            raise ValueError(f"`high` of clip_high must be <= delta - 1, {words}")


@dataclass(frozen=True)
class ClipActuator(Actuator):
    """
    Both PPO clip bounds, moved against each other by one control.

    The control is a power of ten: `epsilon_high` is multiplied by 10**control and `epsilon_low` divided by it, so at 0
    both are what the configuration says. A tight lower clip protects unlikely tokens and a wide upper one feeds them.

    Args:
        low (`float`), high (`float`):
            Bounds of the control, around 0. At `low`, `epsilon_low` must still be below 1.
    """

    low: float = -0.65
    high: float = 1.3

    def __post_init__(self) -> None:
        super().__post_init__()
        if max(-self.low, self.high) > 3.0:
            words = f"got {self.low} and {self.high}: set both within -3 and 3"
            raise ValueError(f"the bounds of clip must be powers of ten from -3 to 3, {words}")

    def settings(self, control: float, args: ActuatorArgs) -> dict[str, float]:
        high = configured_epsilon_high(args) * 10.0**control
        return {"epsilon_low": args.epsilon * 10.0**-control, "epsilon_high": high}

    def check(self, args: ActuatorArgs) -> None:
        check_clip_binds("clip", args, CLIPPED_LOSSES)
        highest = self.settings(self.high, args)["epsilon_high"]
        if args.delta is not None and highest > args.delta - 1.0:
            words = f"got up to {highest:.3g} with delta={args.delta}: set `high` lower, or raise delta"
            raise ValueError(f"the clip's epsilon_high must be <= delta - 1, {words}")
        if args.importance_sampling_level == "sequence" and args.epsilon > 0.01:
            raise ValueError(
                f"`epsilon` must be <= 0.01 for clip with importance_sampling_level='sequence', got {args.epsilon}: "
                "set epsilon and epsilon_high near 3e-4, or importance_sampling_level: token"
            )
        widest = self.settings(self.low, args)["epsilon_low"]
        if widest >= 1.0:
            least = f"{math.log10(args.epsilon) + 0.01:.2f}"
            words = f"got {widest:.2f} at `low` {self.low}: set `low` to at least {least}, or epsilon lower"
            raise ValueError(f"the clip's epsilon_low must be < 1, {words}")
