"""Open-loop controllers, which do not use the measured entropy."""

from dataclasses import dataclass
from typing import Literal

from .bounded import BoundedController
from .values import check_choice


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


@dataclass
class PatternController(BoundedController):
    """
    A controller whose control follows a pattern over the run, whatever entropy does.

    The pattern is a weight from -1 to 1. At 1 the control is the upper bound of the actuator, at 0 its initial control,
    and at -1 the lower bound. So the pattern suits every actuator with room on both sides.

    Source: "Flexible Entropy Control in RLVR with Gradient-Preserving Perspective" (arXiv 2602.09782), ID and DID.

    Args:
        shape (`"increase_decrease"` or `"decrease_increase_decrease"`, *optional*, defaults to `"increase_decrease"`):
            `"increase_decrease"` (ID) falls from 1 to 0 in the first half of the run, and then rises from -1 to 0.
            `"decrease_increase_decrease"` (DID) rises from 0 to 1 in the first half, and then also from -1 to 0.

    Raises:
        ValueError: for an unknown shape.
    """

    shape: Literal["increase_decrease", "decrease_increase_decrease"] = "increase_decrease"
    needs_target = False
    state = ("initial",)

    def __post_init__(self) -> None:
        check_choice("shape", self.shape, ("increase_decrease", "decrease_increase_decrease"))
        self.begin(0.0, -1.0, 1.0)

    def advance(self, progress: float) -> None:
        """Move the control to its place in the pattern at `progress`, from 0 to 1."""
        weight = self.weight(progress)
        room = self._high - self._initial if weight > 0.0 else self._initial - self._low
        self._move_to(self._initial + weight * room)

    def weight(self, progress: float) -> float:
        """Return the weight of the pattern at `progress`, from -1 to 1."""
        if progress > 0.5:
            return 2.0 * progress - 2.0
        return 2.0 * progress if self.shape.startswith("decrease") else 1.0 - 2.0 * progress

    def update(self, target: float, entropy: float, slope: float = 0.0, noise: float | None = None) -> float:
        """Return the control of the present progress; no argument is used."""
        return self._control
