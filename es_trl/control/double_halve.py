"""The controller of REPO-R: a step on a logarithmic axis in the direction of the error."""

from dataclasses import dataclass

from .bounded import BoundedController
from .values import check_number


@dataclass
class DoubleHalveController(BoundedController):
    """
    A controller that doubles or halves its control once per rollout, and hops over 0.

    While entropy is below the target, a control above 0 is doubled and one below 0 is halved. While entropy is above
    the target, it is the other way round. A halved control that comes nearer to 0 than `smallest` becomes `smallest`
    with the other sign. A control of 0 becomes `smallest` with the sign of the error.

    Source: "Entropy-Preserving Reinforcement Learning" (arXiv 2603.11682), as SkyRL's code has it.

    Args:
        smallest (`float`, *optional*, defaults to `1e-4`):
            Smallest size of the control that is not 0, above 0, in the unit of the actuator's control.

    Raises:
        ValueError: for an argument out of its range.
    """

    smallest: float = 1e-4

    def __post_init__(self) -> None:
        check_number("smallest", self.smallest, "1e-4", above=0)
        super().__post_init__()

    def update(self, target: float, entropy: float, slope: float = 0.0, noise: float | None = None) -> float:
        """Return the control after one step, or as it is if entropy equals the target; the rest is not used."""
        if entropy == target:
            return self._control
        sign = 1.0 if entropy < target else -1.0
        towards = sign * self._control  # above 0 if the control already pushes against the error
        halved = towards / 2.0
        stepped = 2.0 * towards if towards > 0.0 else self.smallest if halved > -self.smallest else halved
        return self._move_to(sign * stepped)
