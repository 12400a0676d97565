"""Controllers with a band: within it nothing is done, outside it the excursion or its sign is answered.

The band is `width` nats wide around the scheduled target, so that any schedule moves it. Pure state machines, as in
`controllers.py`.
"""

import math
from dataclasses import dataclass
from typing import Any

from .base import Controller


def excursion(target: float, entropy: float, width: float) -> float:
    """
    How far entropy is outside the band: positive where it is below, negative where it is above, 0 within, nats.

    Args:
        target (`float`), entropy (`float`):
            Middle of the band, and measured entropy, nats.
        width (`float`):
            Of the band, at least 0 nats.
    """
    return max(target - width / 2 - entropy, 0.0) + min(target + width / 2 - entropy, 0.0)


@dataclass
class DeadBandController(Controller):
    """
    Integrates the excursion, within the bounds of the actuator.

        control <- clamp(control + gain * excursion)

    With a width this is the rule of AEnt (arXiv 2509.03493; `gain` is its beta): lambda <- Proj(lambda - beta *
    [min(0, H - H_low) + max(0, H - H_high)]). With a width of 0 it is proportional to the error itself, and with a
    lower bound of 0 never negative, as AER's global coefficient is said to be (arXiv 2510.10959; a reconstruction).

    Args:
        gain (`float`):
            Unit of the control per nat and rollout, above 0.
        width (`float`):
            Of the band around the target, at least 0 nats.
        warmup (`int`):
            Rollouts before the first change, at least 0.
    """

    gain: float = 0.002
    width: float = 0.0
    warmup: int = 0

    def __post_init__(self):
        if not (math.isfinite(self.gain) and self.gain > 0.0):
            raise ValueError(f"`gain` is {self.gain}, and it is a finite number above 0: set 0.002")
        _check_width(self.width)
        if self.warmup < 0:
            raise ValueError(f"`warmup` is {self.warmup}, and it counts rollouts: set 0 or more")

    def begin(self, initial: float, low: float, high: float) -> None:
        self._control, self._low, self._high = initial, low, high
        self._rollouts = 0

    def update(self, target: float, entropy: float, slope: float = 0.0, noise: float | None = None) -> float:
        self._rollouts += 1
        if self._rollouts > self.warmup:
            control = self._control + self.gain * excursion(target, entropy, self.width)
            self._control = min(max(control, self._low), self._high)
        return self._control

    def rebase(self, target: float, entropy: float, noise: float | None = None) -> None:
        self._rollouts += 1

    def state_dict(self) -> dict[str, Any]:
        return {"control": self._control, "rollouts": self._rollouts}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._control = min(max(state["control"], self._low), self._high)  # the bounds may have been narrowed
        self._rollouts = state["rollouts"]


@dataclass
class BandSignController(Controller):
    """
    The sign of the excursion, each rollout afresh: the control is at its upper bound where entropy is below the band,
    at its lower one where it is above, and where it began within.

    Source: Entrocraft (arXiv 2604.26326), Algorithm 1, whose m is minus this control.

    Args:
        width (`float`):
            Of the band around the target, at least 0 nats; its scripts have 0.1. With 0 it is bang-bang.
    """

    width: float = 0.1
    gives_sign = True

    def __post_init__(self):
        _check_width(self.width)

    def begin(self, initial: float, low: float, high: float) -> None:
        self._control = self._initial = initial
        self._low, self._high = low, high

    def update(self, target: float, entropy: float, slope: float = 0.0, noise: float | None = None) -> float:
        outside = excursion(target, entropy, self.width)
        self._control = self._high if outside > 0.0 else self._low if outside < 0.0 else self._initial
        return self._control

    def rebase(self, target: float, entropy: float, noise: float | None = None) -> None:
        """The control stays; there is nothing to forget."""

    def state_dict(self) -> dict[str, Any]:
        return {"control": self._control, "initial": self._initial}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._control, self._initial = state["control"], state["initial"]


def _check_width(width: float) -> None:
    if not (math.isfinite(width) and width >= 0.0):
        raise ValueError(
            f"`width` is {width}, so the upper end of the band would be below its lower end, and every entropy outside "
            "it: set 0 or more, for example 0.1"
        )
