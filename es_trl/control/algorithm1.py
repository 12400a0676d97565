"""The paper's Algorithm 1: a fixed step in the direction of the windowed error."""

import math
from collections import deque
from dataclasses import dataclass
from typing import Any

from .base import Controller


@dataclass
class SignStepController(Controller):
    """
    The paper's Algorithm 1: a fixed step in the direction of the windowed error.

    During the warm-up the control stays where it began. After it, the means of target and entropy over the last
    `window` rollouts (those that exist) are compared, and the control moves by `delta` towards more entropy where the
    target is higher, towards less where it is lower.

    Args:
        delta (`float`):
            Step a rollout, in the unit of the control; above 0.
        window (`int`):
            Rollouts averaged over, at least 1.
        warmup (`int`, *optional*):
            Rollouts before the first step, at least 0; as long as the window where unset.
    """

    delta: float = 0.005
    window: int = 5
    warmup: int | None = None

    def __post_init__(self):
        if not (math.isfinite(self.delta) and self.delta > 0.0):
            raise ValueError(f"`delta` is {self.delta}, and a step is a finite number above 0: set 0.005")
        if self.window < 1:
            raise ValueError(f"`window` is {self.window}, and a mean needs one rollout: set 1 or more")
        if self.warmup is not None and self.warmup < 0:
            raise ValueError(f"`warmup` is {self.warmup}, and it counts rollouts: set 0 or more")

    def begin(self, initial: float, low: float, high: float) -> None:
        self._control, self._low, self._high = initial, low, high
        self._rollouts = 0
        self._targets: deque[float] = deque(maxlen=self.window)
        self._entropies: deque[float] = deque(maxlen=self.window)

    def update(self, target: float, entropy: float, slope: float = 0.0, noise: float | None = None) -> float:
        self._rollouts += 1
        self._targets.append(target)
        self._entropies.append(entropy)
        warmup = self.window if self.warmup is None else self.warmup
        if self._rollouts > warmup:
            # fsum: the sign of a difference of means must not hang on the order of a running sum
            error = math.fsum(self._targets) - math.fsum(self._entropies)
            step = math.copysign(self.delta, error) if error != 0.0 else 0.0
            self._control = min(max(self._control + step, self._low), self._high)
        return self._control

    def rebase(self, target: float, entropy: float, noise: float | None = None) -> None:
        self._rollouts += 1
        self._targets = deque([target], maxlen=self.window)
        self._entropies = deque([entropy], maxlen=self.window)

    def state_dict(self) -> dict[str, Any]:
        return {
            "control": self._control,
            "rollouts": self._rollouts,
            "targets": list(self._targets),
            "entropies": list(self._entropies),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._control = min(max(state["control"], self._low), self._high)  # the bounds may have been narrowed
        self._rollouts = state["rollouts"]
        self._targets = deque(state["targets"], maxlen=self.window)
        self._entropies = deque(state["entropies"], maxlen=self.window)
