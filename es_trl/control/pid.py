"""A discrete PID with feed-forward of the target."""

import math
from dataclasses import dataclass
from typing import Any

from .base import Controller


RELEASE = 0.7  # of the offset that keeps a switch bumpless is left after each rollout: a sixth after five


@dataclass
class PIDController(Controller):
    """
    A discrete PID with feed-forward of the target; time is counted in rollouts.

        control = kp * error + integral + kd * (previous entropy - entropy) + kff * slope
        integral = initial + ki * (sum of errors)

    The start is bumpless in the sense of simple-pid's `starting_output`: the integral begins at the control that the
    trainer has, so at zero error nothing moves, and an error that is there at the start acts at once. The derivative
    acts on the measurement, so a step of the target does not kick. An error that would push a saturated control
    further out is not integrated, so there is no windup. Where the prompts change, an offset keeps the control where it
    is, and goes away by three tenths a rollout: the jump is answered, and not at once.

    Args:
        kp (`float`), ki (`float`), kd (`float`):
            Gains, at least 0, in the unit of the control per nat (`ki`: per nat and rollout).
        kff (`float`):
            Feed-forward gain, at least 0: control per nat that the target will change by at the next rollout. It is
            the inverse of what one unit of control moves entropy by in a rollout.
    """

    kp: float = 1.0
    ki: float = 0.05
    kd: float = 0.0
    kff: float = 0.0

    def __post_init__(self):
        for name in ("kp", "ki", "kd", "kff"):
            gain = getattr(self, name)
            if not (math.isfinite(gain) and gain >= 0.0):
                raise ValueError(
                    f"`{name}` is {gain}, and a negative or infinite gain drives entropy away from the target: set 0 "
                    "or more"
                )

    def begin(self, initial: float, low: float, high: float) -> None:
        self._integral = self._control = initial
        self._low, self._high = low, high
        self._offset = 0.0  # what keeps a switch of the prompts bumpless
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
        self._control = min(max(control, self._low), self._high)
        return self._control

    def rebase(self, target: float, entropy: float, noise: float | None = None) -> None:
        self._offset = self._control - self.kp * (target - entropy) - self._integral
        self._last_entropy = entropy

    def state_dict(self) -> dict[str, Any]:
        return {
            "integral": self._integral,
            "control": self._control,
            "offset": self._offset,
            "last_entropy": self._last_entropy,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._integral, self._last_entropy = state["integral"], state["last_entropy"]
        self._offset = state["offset"]
        self._control = min(max(state["control"], self._low), self._high)  # the bounds may have been narrowed
