"""Controllers with a band around the target: nothing is done within it, and the excursion or its sign acts outside."""

from dataclasses import dataclass

from .bounded import BoundedController
from .values import check_count, check_number


def excursion(target: float, entropy: float, width: float) -> float:
    """Return how far entropy is outside a band around the target, nats: positive below it, negative above it."""
    return max(target - width / 2 - entropy, 0.0) + min(target + width / 2 - entropy, 0.0)


@dataclass
class DeadBandController(BoundedController):
    """
    Integrates the excursion, within the bounds of the actuator.

        control <- clamp(control + gain * excursion)

    With a width this is the rule of AEnt (arXiv 2509.03493; `gain` is its beta). With a width of 0 it integrates the
    error itself. A lower bound of 0 then keeps it from being negative, as AER's global coefficient is said to be
    (arXiv 2510.10959; a reconstruction).

    Args:
        gain (`float`):
            Unit of the control per nat and rollout, above 0.
        width (`float`):
            Width of the band around the target, at least 0 nats.
        warmup (`int`):
            Rollouts before the first change, at least 0.
    """

    gain: float = 0.002
    width: float = 0.0
    warmup: int = 0
    state = ("rollouts",)

    def __post_init__(self) -> None:
        check_number("gain", self.gain, "0.002", above=0)
        check_number("width", self.width, "0.1, or 0 for no band", least=0)
        check_count("warmup", self.warmup, 0)
        super().__post_init__()

    def begin(self, initial: float, low: float, high: float) -> None:
        super().begin(initial, low, high)
        self._rollouts = 0

    def update(self, target: float, entropy: float, slope: float = 0.0, noise: float | None = None) -> float:
        self._rollouts += 1
        if self._rollouts <= self.warmup:
            return self._control
        return self._move_to(self._control + self.gain * excursion(target, entropy, self.width))

    def rebase(self, target: float, entropy: float, noise: float | None = None) -> None:
        self._rollouts += 1


@dataclass
class BandSignController(BoundedController):
    """
    Goes to its upper bound where entropy is below the band, to its lower one above it, and back to its start within.

    Before [`begin`] the bounds are -1 and 1. Source: Entrocraft (arXiv 2604.26326), Algorithm 1, whose m is minus this
    control.

    Args:
        width (`float`):
            Width of the band around the target, at least 0 nats; Entrocraft's scripts have 0.1. With 0 it is bang-bang.
    """

    width: float = 0.1
    gives_sign = True
    state = ("initial",)

    def __post_init__(self) -> None:
        check_number("width", self.width, "0.1, or 0 for no band", least=0)
        self.begin(0.0, -1.0, 1.0)

    def update(self, target: float, entropy: float, slope: float = 0.0, noise: float | None = None) -> float:
        outside = excursion(target, entropy, self.width)
        return self._move_to(self._high if outside > 0.0 else self._low if outside < 0.0 else self._initial)
