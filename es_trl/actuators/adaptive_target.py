"""An actuator for the target of TRL's adaptive entropy coefficient."""

from dataclasses import dataclass

from ..control.base import Actuator, ActuatorArgs


@dataclass(frozen=True)
class AdaptiveTargetActuator(Actuator):
    """
    An actuator that moves `entropy_target`, the target of TRL's adaptive entropy coefficient.

    Source: Skywork-OR1 (arXiv 2505.22312).

    Args:
        low (`float`, *optional*, defaults to `0.0`):
            Lower bound of the target in nats, at least 0.
        high (`float`, *optional*, defaults to `2.0`):
            Upper bound of the target in nats.
    """

    low: float = 0.0
    high: float = 2.0
    setting = "entropy_target"

    def initial(self, args: ActuatorArgs) -> float:
        """Return the configured `entropy_target`."""
        return args.entropy_target

    def check(self, args: ActuatorArgs) -> None:
        """Raise `ValueError` unless `use_adaptive_entropy` is true."""
        if not args.use_adaptive_entropy:
            words = "got false: set use_adaptive_entropy: true, or method: skywork"
            raise ValueError(f"`use_adaptive_entropy` must be true with adaptive_target, {words}")
