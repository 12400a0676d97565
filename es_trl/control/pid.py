"""A discrete PID controller with feed-forward of the target."""

from dataclasses import dataclass

from .bounded import BoundedController
from .values import check_number


RELEASE = 0.7  # share of a switch's offset that is left after each rollout, so one sixth of it after five rollouts


@dataclass
class PIDController(BoundedController):
    """
    A discrete PID controller with feed-forward of the target. Time is counted in rollouts.

        control = kp * error + integral + kd * (previous entropy - entropy) + kff * slope
        integral = initial + ki * (sum of errors)

    - Start: the integral begins at the initial control, as with simple-pid's `starting_output`. The first error acts at
      once.
    - Derivative: it reads the measured entropy and not the error, so a step of the target causes no kick.
    - Saturation: an error that would push a saturated control further out is not integrated, so there is no windup.
    - Switch: when the prompts change, an offset keeps the control as it is. The offset shrinks by 30 % per rollout.

    Args:
        kp (`float`, *optional*, defaults to `1.0`):
            Proportional gain, at least 0: control per nat of error.
        ki (`float`, *optional*, defaults to `0.05`):
            Integral gain, at least 0: control per nat of error and rollout.
        kd (`float`, *optional*, defaults to `0.0`):
            Derivative gain, at least 0: control per nat by which entropy fell since the rollout before.
        kff (`float`, *optional*, defaults to `0.0`):
            Feed-forward gain, at least 0: control per nat by which the target will change until the next rollout. For
            example, if one unit of control moves entropy by 0.1 nats per rollout, 10 is a good value.

    Raises:
        ValueError: for a gain below 0.
    """

    kp: float = 1.0
    ki: float = 0.05
    kd: float = 0.0
    kff: float = 0.0
    state = ("integral", "offset", "last_entropy")

    def __post_init__(self) -> None:
        for name in ("kp", "ki", "kd", "kff"):
            check_number(name, getattr(self, name), "0 or more", least=0)
        super().__post_init__()

    def begin(self, initial: float, low: float, high: float) -> None:
        """Start afresh, with the integral at `initial`."""
        super().begin(initial, low, high)
        self._integral = initial
        self._offset = 0.0  # keeps the control from jumping at a switch
        self._last_entropy: float | None = None

    def update(self, target: float, entropy: float, slope: float = 0.0, noise: float | None = None) -> float:
        """Return the next control; `noise` is not used."""
        self._offset *= RELEASE
        error = target - entropy
        drop = 0.0 if self._last_entropy is None else self._last_entropy - entropy
        self._last_entropy = entropy
        integral = self._integral + self.ki * error
        control = self.kp * error + integral + self.kd * drop + self.kff * slope + self._offset
        winds_up = (control > self._high and error > 0.0) or (control < self._low and error < 0.0)
        if not winds_up:
            self._integral = min(max(integral, self._low), self._high)
        return self._move_to(control)

    def rebase(self, target: float, entropy: float, noise: float | None = None) -> None:
        """Keep the control with an offset, and forget the entropy before."""
        self._offset = self._control - self.kp * (target - entropy) - self._integral
        self._last_entropy = entropy
