"""The controller of the paper's Algorithm 1."""

import math
from dataclasses import dataclass

from .bounded import BoundedController
from .values import check_count, check_number


@dataclass
class SignStepController(BoundedController):
    """
    A controller that makes a fixed step in the direction of the windowed error.

    The windowed error is the mean target minus the mean entropy of the last `window` rollouts. After the warm-up the
    control goes up by `delta` where that error is positive, and down by `delta` where it is negative.

    Source: "Entropy Scheduling in Reinforcement Learning for Large Language Models", Algorithm 1.

    Args:
        delta (`float`, *optional*, defaults to `0.005`):
            Step per rollout in the unit of the control, above 0.
        window (`int`, *optional*, defaults to `5`):
            Number of rollouts in the means, at least 1.
        warmup (`int`, *optional*):
            Number of rollouts before the first step, at least 0. If unset, it equals `window`.

    Raises:
        ValueError: for an argument out of its range.
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
        """Start afresh from the control `initial`, with empty windows and a new warm-up."""
        super().begin(initial, low, high)
        self._rollouts = 0
        self._targets: list[float] = []
        self._entropies: list[float] = []

    def update(self, target: float, entropy: float, slope: float = 0.0, noise: float | None = None) -> float:
        """Return the control after one step; `slope` and `noise` are not used."""
        self._rollouts += 1
        self._targets = [*self._targets, target][-self.window :]
        self._entropies = [*self._entropies, entropy][-self.window :]
        if self._rollouts <= (self.window if self.warmup is None else self.warmup):
            return self._control
        # fsum, because rounding errors must not change the sign of the difference of the means
        error = math.fsum(self._targets) - math.fsum(self._entropies)
        return self._move_to(self._control + (math.copysign(self.delta, error) if error != 0.0 else 0.0))

    def rebase(self, target: float, entropy: float, noise: float | None = None) -> None:
        """Keep the control, and start both windows again with this rollout."""
        self._rollouts += 1
        self._targets, self._entropies = [target], [entropy]
