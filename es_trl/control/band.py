"""Controllers with a band around the target: they act only while entropy is outside the band."""

from dataclasses import dataclass

from .bounded import BoundedController
from .values import check_count, check_number


def excursion(target: float, entropy: float, width: float) -> float:
    """
    Return how far entropy is outside a band around the target, in nats.

    The value is positive below the band, negative above it and 0 within it. The band reaches half of `width` to each
    side of the target.
    """
    return max(target - width / 2 - entropy, 0.0) + min(target + width / 2 - entropy, 0.0)


@dataclass
class DeadBandController(BoundedController):
    """
    A controller that integrates the excursion of entropy from the band, within the bounds of the actuator.

        control <- clamp(control + gain * excursion)

    With a width above 0 this is the rule of AEnt (arXiv 2509.03493), whose beta is `gain`. With a width of 0 it
    integrates the error. With an actuator whose lower bound is 0, the latter reconstructs the global coefficient of AER
    (arXiv 2510.10959).

    Args:
        gain (`float`, *optional*, defaults to `0.002`):
            Change of the control per rollout and nat of excursion, above 0.
        width (`float`, *optional*, defaults to `0.0`):
            Width of the band around the target in nats, at least 0.
        warmup (`int`, *optional*, defaults to `0`):
            Number of rollouts before the first change, at least 0.

    Raises:
        ValueError: for an argument out of its range.
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
        """Start afresh from the control `initial`, with a new warm-up."""
        super().begin(initial, low, high)
        self._rollouts = 0

    def update(self, target: float, entropy: float, slope: float = 0.0, noise: float | None = None) -> float:
        """Return the control after adding the excursion times the gain; `slope` and `noise` are not used."""
        self._rollouts += 1
        if self._rollouts <= self.warmup:
            return self._control
        return self._move_to(self._control + self.gain * excursion(target, entropy, self.width))

    def rebase(self, target: float, entropy: float, noise: float | None = None) -> None:
        """Keep the control, and count the rollout towards the warm-up."""
        self._rollouts += 1


@dataclass
class BandSignController(BoundedController):
    """
    A controller that knows only three values: a bound for each side of the band, and its start within the band.

    The control is the upper bound where entropy is below the band, the lower bound where entropy is above it, and the
    initial control within it. Before [`begin`] the bounds are -1 and 1.

    Source: Entrocraft (arXiv 2604.26326), Algorithm 1, whose m is minus this control.

    Args:
        width (`float`, *optional*, defaults to `0.1`):
            Width of the band around the target in nats, at least 0. Entrocraft's scripts use 0.1. With 0 there is no
            band, and every error sends the control to a bound.

    Raises:
        ValueError: for a width below 0.
    """

    width: float = 0.1
    gives_sign = True
    state = ("initial",)

    def __post_init__(self) -> None:
        check_number("width", self.width, "0.1, or 0 for no band", least=0)
        self.begin(0.0, -1.0, 1.0)

    def update(self, target: float, entropy: float, slope: float = 0.0, noise: float | None = None) -> float:
        """Return a bound, or the initial control within the band; `slope` and `noise` are not used."""
        outside = excursion(target, entropy, self.width)
        return self._move_to(self._high if outside > 0.0 else self._low if outside < 0.0 else self._initial)
