"""The base class of controllers with bounds."""

import math
from typing import Any

from .base import Controller


class BoundedController(Controller):
    """A controller whose control stays within bounds. Before [`begin`] the control is 0 and has no bounds."""

    state: tuple[str, ...] = ()  # saved attributes of a subclass, without their leading underscore

    def __post_init__(self) -> None:
        self.begin(0.0, -math.inf, math.inf)

    def begin(self, initial: float, low: float, high: float) -> None:
        """Start afresh from the control `initial`, with the bounds `low` and `high`."""
        self._initial = self._control = initial
        self._low, self._high = low, high

    def _move_to(self, control: float) -> float:
        self._control = min(max(control, self._low), self._high)
        return self._control

    def rebase(self, target: float, entropy: float, noise: float | None = None) -> None:
        """Keep the control; there are no past entropies to forget."""

    def state_dict(self) -> dict[str, Any]:
        """Return the control and the attributes that `state` names, as JSON values."""
        return {"control": self._control, **{name: getattr(self, f"_{name}") for name in self.state}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a saved state, with the control moved into the present bounds."""
        self._move_to(state["control"])  # the configuration may have narrower bounds than the checkpoint
        for name in self.state:
            setattr(self, f"_{name}", state[name])
