"""The paper's Algorithm 1."""

import math
from dataclasses import dataclass

from .bounded import BoundedController
from .values import check_count, check_number


@dataclass
class SignStepController(BoundedController):
    """
    A fixed step in the direction of the windowed error, as in Algorithm 1.

    After the warm-up the means of target and entropy over the last `window` rollouts are compared, and the control
    moves by `delta` towards more entropy where the target is higher, towards less where it is lower.

    Args:
        delta (`float`):
            Step per rollout, in the unit of the control; above 0.
        window (`int`), warmup (`int`, *optional*):
            Rollouts averaged over, at least 1, and before the first step; as many as the window where unset.
    """

    delta: float = 0.005
    window: int = 5
    warmup: int | None = None
    state = ("rollouts", "targets", "entropies")

    def __post_init__(self) -> None:
        check_number("delta", self.delta, "0.005", above=0)
        check_count("window", self.window, 1)
        if self.warmup is not None:
            check_count("warmup", self.warmup, 0)
        super().__post_init__()

    def begin(self, initial: float, low: float, high: float) -> None:
        super().begin(initial, low, high)
        self._rollouts = 0
        self._targets: list[float] = []
        self._entropies: list[float] = []

    def update(self, target: float, entropy: float, slope: float = 0.0, noise: float | None = None) -> float:
        self._rollouts += 1
        self._targets = [*self._targets, target][-self.window :]
        self._entropies = [*self._entropies, entropy][-self.window :]
        if self._rollouts <= (self.window if self.warmup is None else self.warmup):
            return self._control
        # fsum: the sign of a difference of means must not hang on the order of a running sum
        error = math.fsum(self._targets) - math.fsum(self._entropies)
        return self._move_to(self._control + (math.copysign(self.delta, error) if error != 0.0 else 0.0))

    def rebase(self, target: float, entropy: float, noise: float | None = None) -> None:
        self._rollouts += 1
        self._targets, self._entropies = [target], [entropy]
