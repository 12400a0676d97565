"""A discrete PID with feed-forward of the target."""

from dataclasses import dataclass

from .bounded import BoundedController
from .values import check_number


RELEASE = 0.7  # share of the offset of a bumpless switch that is left after each rollout: a sixth after five


@dataclass
class PIDController(BoundedController):
    """
    A discrete PID with feed-forward of the target; time is counted in rollouts.

        control = kp * error + integral + kd * (previous entropy - entropy) + kff * slope
        integral = initial + ki * (sum of errors)

    The start is bumpless as in simple-pid's `starting_output`: the integral begins at the control that the trainer
    has, and an error at the start acts at once. The derivative acts on the measurement, so a step of the target does
    not kick. An error that would push a saturated control further out is not integrated, so there is no windup. Where
    the prompts change, an offset keeps the control where it is and shrinks by three tenths per rollout.

    Args:
        kp (`float`), ki (`float`), kd (`float`):
            Gains, at least 0, in the unit of the control per nat (`ki`: per nat and rollout).
        kff (`float`):
            Feed-forward gain, at least 0: control per nat that the target changes by until the next rollout. It is the
            inverse of what one unit of control moves entropy by per rollout.
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
        super().begin(initial, low, high)
        self._integral = initial
        self._offset = 0.0  # keeps a switch of the prompts bumpless
        self._last_entropy: float | None = None

    def update(self, target: float, entropy: float, slope: float = 0.0, noise: float | None = None) -> float:
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
        self._offset = self._control - self.kp * (target - entropy) - self._integral
        self._last_entropy = entropy
