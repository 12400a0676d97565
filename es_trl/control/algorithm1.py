"""The paper's Algorithm 1."""

import math
from collections import deque
from dataclasses import dataclass
from typing import Any

from .bounded import BoundedController
from .values import check_count, check_number


@dataclass
class SignStepController(BoundedController):
    """
    A fixed step in the direction of the windowed error, as in Algorithm 1.

    During the warm-up the control stays where it began. After it, the means of target and entropy over the last
    `window` rollouts (those that exist) are compared, and the control moves by `delta` towards more entropy where the
    target is higher, towards less where it is lower.

    Args:
        delta (`float`):
            Step per rollout, in the unit of the control; above 0.
        window (`int`):
            Rollouts averaged over, at least 1.
        warmup (`int`, *optional*):
            Rollouts before the first step, at least 0; as long as the window where unset.
    """

    delta: float = 0.005
    window: int = 5
    warmup: int | None = None

    def __post_init__(self) -> None:
        check_number("delta", self.delta, "0.005", above=0)
        check_count("window", self.window, 1)
        if self.warmup is not None:
            check_count("warmup", self.warmup, 0)
        super().__post_init__()

    def begin(self, initial: float, low: float, high: float) -> None:
        super().begin(initial, low, high)
        self._rollouts = 0
        self._targets: deque[float] = deque(maxlen=self.window)
        self._entropies: deque[float] = deque(maxlen=self.window)

    def update(self, target: float, entropy: float, slope: float = 0.0, noise: float | None = None) -> float:
        self._rollouts += 1
        self._targets.append(target)
        self._entropies.append(entropy)
        warmup = self.window if self.warmup is None else self.warmup
        if self._rollouts <= warmup:
            return self._control
        # fsum: the sign of a difference of means must not hang on the order of a running sum
        error = math.fsum(self._targets) - math.fsum(self._entropies)
        return self._move_to(self._control + (math.copysign(self.delta, error) if error != 0.0 else 0.0))

    def rebase(self, target: float, entropy: float, noise: float | None = None) -> None:
        self._rollouts += 1
        self._targets = deque([target], maxlen=self.window)
        self._entropies = deque([entropy], maxlen=self.window)

    def state_dict(self) -> dict[str, Any]:
        series = {"targets": list(self._targets), "entropies": list(self._entropies)}
        return {**super().state_dict(), "rollouts": self._rollouts, **series}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self._rollouts = state["rollouts"]
        self._targets = deque(state["targets"], maxlen=self.window)
        self._entropies = deque(state["entropies"], maxlen=self.window)
