"""A controller that turns round only at a floor and at a ceiling of the entropy."""

from dataclasses import dataclass

from .bounded import BoundedController
from .values import check_number


@dataclass
class HysteresisController(BoundedController):
    """
    A controller that raises entropy from the floor until it is above the ceiling, and then lowers it to the floor.

    The ceiling is the target, which may fall over the run. The floor is a share of the first target. At the floor the
    control becomes its upper bound. Above the ceiling it becomes its lower bound. In between it stays as it is, and
    before entropy has reached one of them it is the initial control.

    Source: "Flexible Entropy Control in RLVR with Gradient-Preserving Perspective" (arXiv 2602.09782), OD. There the
    ceiling falls linearly from the first rollout's entropy to the floor.

    Args:
        floor (`float`, *optional*, defaults to `0.2`):
            Floor as a share of the first target, from 0 to 1.

    Raises:
        ValueError: for an argument out of its range.
    """

    floor: float = 0.2
    gives_sign = True
    state = ("first",)

    def __post_init__(self) -> None:
        check_number("floor", self.floor, "a share of the first target, for example 0.2", least=0, most=1)
        self.begin(0.0, -1.0, 1.0)

    def begin(self, initial: float, low: float, high: float) -> None:
        """Start afresh from the control `initial`; the next target is the first one."""
        super().begin(initial, low, high)
        self._first: float | None = None

    def take_over(self, initial: float, low: float, high: float, holds: bool) -> None:
        """Go on with another actuator; the floor stays."""
        first = self._first
        super().take_over(initial, low, high, holds)
        self._first = first

    def update(self, target: float, entropy: float, slope: float = 0.0, noise: float | None = None) -> float:
        """Return a bound, or the control as it is between floor and ceiling; `slope` and `noise` are not used."""
        self._first = target if self._first is None else self._first
        if entropy <= self.floor * self._first:
            return self._move_to(self._high)
        return self._move_to(self._low) if entropy > target else self._control

    def rebase(self, target: float, entropy: float, noise: float | None = None) -> None:
        """Keep the control; the target may be the first one."""
        self._first = target if self._first is None else self._first
