"""Actuators for the PPO clip bounds: the upper one alone, or both."""

import math
from dataclasses import dataclass

from ..control.base import Actuator, ActuatorArgs
from ..control.values import check_number
from .checks import CLIPPED_LOSSES, check_clip_binds, configured_epsilon_high


@dataclass(frozen=True)
class ClipHighActuator(Actuator):
    """
    An actuator that moves the upper PPO clip bound, `epsilon_high`, as the paper's Algorithm 1 does.

    With `loss_type="cispo"`, `epsilon_high` is a cap on the ratio and not an offset from 1, so both bounds must be
    above 1.

    Source: "Entropy Scheduling in Reinforcement Learning for Large Language Models", Algorithm 1.

    Args:
        low (`float`, *optional*, defaults to `0.1`):
            Lower bound of `epsilon_high`, above 0.
        high (`float`, *optional*, defaults to `0.4`):
            Upper bound of `epsilon_high`.
    """

    low: float = 0.10
    high: float = 0.40
    setting = "epsilon_high"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("low", self.low, "0.10", above=0)

    def initial(self, args: ActuatorArgs) -> float:
        """Return the configured upper clip."""
        return configured_epsilon_high(args)

    def check(self, args: ActuatorArgs) -> None:
        """Raise `ValueError` if the clip cannot act, or if the bounds do not fit the loss."""
        check_clip_binds("clip_high", args, (*CLIPPED_LOSSES, "cispo"))
        if args.loss_type == "cispo" and self.low <= 1.0:
            raise ValueError(
                f"the bounds of clip_high must be > 1 with loss_type='cispo', got {self.low} and {self.high}, because "
                "epsilon_high then caps the ratio: set for example 2 and 8, with epsilon_high: 5, or loss_type: dapo"
            )
        if args.loss_type == "cispo" and args.delta is not None:
            words = f"which does not read it, got {args.delta}: remove delta, or set loss_type: dapo"
            raise ValueError(f"`delta` must be unset for clip_high with loss_type='cispo', {words}")
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
    An actuator that moves both PPO clip bounds in opposite directions.

    The control is an exponent of ten: `epsilon_high` is multiplied by `10**control`, and `epsilon_low` is divided by
    it. At 0 both have their configured values. A higher control raises entropy, because the updates then lower unlikely
    tokens less and raise them more.

    Args:
        low (`float`, *optional*, defaults to `-0.65`):
            Lower bound of the control, from -3 to 0. `epsilon_low` must stay below 1 there.
        high (`float`, *optional*, defaults to `1.3`):
            Upper bound of the control, from 0 to 3.
    """

    low: float = -0.65
    high: float = 1.3

    def __post_init__(self) -> None:
        super().__post_init__()
        if max(-self.low, self.high) > 3.0:
            words = f"got {self.low} and {self.high}: set both within -3 and 3"
            raise ValueError(f"the bounds of clip must be exponents of ten from -3 to 3, {words}")

    def settings(self, control: float, args: ActuatorArgs) -> dict[str, float]:
        """Return `epsilon_low` and `epsilon_high` for a control."""
        high = configured_epsilon_high(args) * 10.0**control
        return {"epsilon_low": args.epsilon * 10.0**-control, "epsilon_high": high}

    def check(self, args: ActuatorArgs) -> None:
        """Raise `ValueError` if the clip cannot act, or if the bounds do not fit the loss."""
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
