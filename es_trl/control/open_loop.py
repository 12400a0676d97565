"""Open-loop controllers: the measured entropy does not change their control."""

from dataclasses import dataclass

from .bounded import BoundedController


@dataclass
class HoldController(BoundedController):
    """Leaves the control where it began; with a schedule the history still has target and error."""

    needs_target = False

    def update(self, target: float, entropy: float, slope: float = 0.0, noise: float | None = None) -> float:
        return self._control


@dataclass
class FollowController(BoundedController):
    """Passes the target on as the control, for an actuator with a loop of its own (`adaptive_target`)."""

    def update(self, target: float, entropy: float, slope: float = 0.0, noise: float | None = None) -> float:
        return self._move_to(target)
