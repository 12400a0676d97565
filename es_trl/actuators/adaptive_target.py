"""The target of TRL's own adaptive entropy coefficient."""

from dataclasses import dataclass

from ..control.base import Actuator, ActuatorArgs


@dataclass(frozen=True)
class AdaptiveTargetActuator(Actuator):
    """
    The target of TRL's own adaptive entropy coefficient (Skywork-OR1, arXiv 2505.22312), its `entropy_target`.

    Args:
        low (`float`), high (`float`):
            Bounds of the target, from 0 nats.
    """

    low: float = 0.0
    high: float = 2.0
    setting = "entropy_target"

    def initial(self, args: ActuatorArgs) -> float:
        return args.entropy_target

    def check(self, args: ActuatorArgs) -> None:
        if not args.use_adaptive_entropy:
            words = "which is off: set use_adaptive_entropy: true, or method: skywork"
            raise ValueError(f"adaptive_target needs TRL's adaptive entropy coefficient, {words}")
