"""Open-loop controllers, which do not use the measured entropy."""

from dataclasses import dataclass

from .bounded import BoundedController


@dataclass
class HoldController(BoundedController):
    """A controller that keeps the initial control. With a schedule, the history still records target and error."""

    needs_target = False

    def update(self, target: float, entropy: float, slope: float = 0.0, noise: float | None = None) -> float:
        """Return the initial control; no argument is used."""
        return self._control


@dataclass
class FollowController(BoundedController):
    """A controller whose control is the target, for an actuator that controls entropy itself (`adaptive_target`)."""

    def update(self, target: float, entropy: float, slope: float = 0.0, noise: float | None = None) -> float:
        """Return the target, moved into the bounds; the other arguments are not used."""
        return self._move_to(target)
