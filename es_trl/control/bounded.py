"""A base class of controllers with bounds."""

import math
from typing import Any

from .base import Controller


class BoundedController(Controller):
    """A controller whose control stays within bounds; before [`begin`] it is 0 and has none."""

    state: tuple[str, ...] = ()  # attributes of a subclass that are saved, without their underscore

    def __post_init__(self) -> None:
        self.begin(0.0, -math.inf, math.inf)

    def begin(self, initial: float, low: float, high: float) -> None:
        self._initial = self._control = initial
        self._low, self._high = low, high

    def _move_to(self, control: float) -> float:
        self._control = min(max(control, self._low), self._high)
        return self._control

    def rebase(self, target: float, entropy: float, noise: float | None = None) -> None:
        """The control stays; there is nothing to forget."""

    def state_dict(self) -> dict[str, Any]:
        return {"control": self._control, **{name: getattr(self, f"_{name}") for name in self.state}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._move_to(state["control"])  # the bounds may have been narrowed
        for name in self.state:
            setattr(self, f"_{name}", state[name])
