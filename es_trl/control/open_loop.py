"""What looks at no entropy: a controller that holds a setting, and one that hands the target to TRL's own loop."""

from dataclasses import dataclass
from typing import Any

from .base import Controller


@dataclass
class HoldController(Controller):
    """
    Leaves the control where it began: an actuator at its published setting, for comparison with the loop closed.

    With a schedule the history still has target and error, which nothing is done about.
    """

    needs_target = False

    def begin(self, initial: float, low: float, high: float) -> None:
        self._control = initial

    def update(self, target: float, entropy: float, slope: float = 0.0, noise: float | None = None) -> float:
        return self._control

    def rebase(self, target: float, entropy: float, noise: float | None = None) -> None:
        """There is nothing to forget."""

    def state_dict(self) -> dict[str, Any]:
        return {"control": self._control}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._control = state["control"]


@dataclass
class FollowController(HoldController):
    """The target is the control, for an actuator that closes a loop of its own (`adaptive_target`)."""

    needs_target = True

    def begin(self, initial: float, low: float, high: float) -> None:
        self._control, self._low, self._high = initial, low, high

    def update(self, target: float, entropy: float, slope: float = 0.0, noise: float | None = None) -> float:
        self._control = min(max(target, self._low), self._high)
        return self._control
