"""What the entropy of a policy does in answer to a control: a model with two unknowns, estimated from the run.

    entropy[t+1] = entropy[t] + sensitivity * entropy[t] * control[t] - drift

The plant integrates: a control that is held moves entropy on and on. It moves it in proportion to the entropy that is
left (on the Countdown lab the sensitivity so defined is the same, within its error, at 0.37, 0.26 and 0.12 nats:
results/plant/summary.md), and a policy that learns loses `drift` nats a rollout by itself.
"""

import math
from collections import deque
from typing import Any


# Adam's momentum carries a part of what a control does one rollout further: on the Countdown lab 0.24, 0.28 and 0.11
# of it with 4, 8 and 16 updates a rollout (results/plant/summary.md).
CARRIED = 0.25
OUTLIER = 3.0  # standard deviations; one measurement further off weighs less, and a second one in a row is believed
# How much each number changes at random in a rollout, as a standard deviation: entropy and drift in that of a
# measurement, the sensitivity in itself. More makes the control nervous, less makes it late.
ENTROPY_CHANGE, DRIFT_CHANGE, SENSITIVITY_CHANGE = 0.4, 0.05, 0.05
# A control of 1 is expected to move entropy by half of itself in a rollout, give or take as much: careful in a plant
# that is quick, and in one that is slow found wrong within rollouts, because nothing of it shows.
PRIOR_SENSITIVITY = 0.5
PRIOR_DRIFT = 0.03  # standard deviation of the first drift, over the entropy


class PlantEstimator:
    """
    A Kalman filter of entropy, drift and sensitivity: recursive least squares that knows the noise of each measurement.

    A rollout begins with [`measure`] and ends with [`act`].

    Args:
        dead_time (`int`):
            Rollouts from a control to the first entropy that shows it, at least 1.
    """

    def __init__(self, dead_time: int = 1):
        self._efforts = deque([0.0] * (dead_time + 1), maxlen=dead_time + 1)  # control times entropy, the latest first
        self._state: list[float] = []  # entropy, drift, sensitivity
        self._covariance: list[list[float]] = []
        self._doubted = False
        self._drift_gain = 0.0

    @property
    def entropy(self) -> float:
        """Filtered entropy, nats."""
        return self._state[0]

    @property
    def drift(self) -> float:
        """Entropy lost in a rollout without control, nats."""
        return self._state[1]

    @property
    def sensitivity(self) -> float:
        """What one unit of control moves entropy by in a rollout, as a share of the entropy."""
        return self._state[2]

    @property
    def sensitivity_sd(self) -> float:
        """Standard deviation of the sensitivity's estimate."""
        return math.sqrt(self._covariance[2][2])

    @property
    def drift_gain(self) -> float:
        """What a nat of surprise adds to the drift: the integral action of a loop around this estimate."""
        return self._drift_gain

    @property
    def pending(self) -> float:
        """What past controls will still move entropy by, nats."""
        efforts = list(self._efforts)
        return self.sensitivity * (sum(efforts[:-2]) + CARRIED * efforts[-2])

    def change_control(self, holds: bool) -> None:
        """
        From here on another control acts, of unknown sensitivity.

        Args:
            holds (`bool`):
                Whether the last control stays where it is and goes on doing what it does, or ends.
        """
        entropy, drift, sensitivity = self._state
        held = self._efforts[0] if holds else 0.0
        self._state = [entropy, drift - sensitivity * held, PRIOR_SENSITIVITY]
        across = [1.0, -held]  # what the new drift takes from the old drift and sensitivity
        block = [[row[j] for j in (1, 2)] for row in self._covariance]
        with_entropy = sum(a * c for a, c in zip(across, block[0], strict=True))
        variance = sum(across[i] * across[j] * block[i + 1][j] for i in range(2) for j in range(2))
        self._covariance = [
            [self._covariance[0][0], with_entropy, 0.0],
            [with_entropy, variance, 0.0],
            [0.0, 0.0, PRIOR_SENSITIVITY**2],
        ]
        self._efforts = deque([0.0] * len(self._efforts), maxlen=len(self._efforts))

    def rebase(self, entropy: float, noise: float) -> None:
        """
        Go on from `entropy`, measured on other prompts or lengths than before, so that nothing follows from the jump.

        The sensitivity, a share of the entropy, stays as known, and the drift as a share of it; how well the drift is
        known is forgotten.

        Args:
            entropy (`float`), noise (`float`):
                As in [`measure`].
        """
        if not self._state:
            self.measure(entropy, noise)
            return
        ratio = entropy / max(self.entropy, noise)
        self._state = [entropy, self.drift * ratio, self.sensitivity]
        self._covariance = _diagonal(noise**2, (PRIOR_DRIFT * entropy) ** 2, self._covariance[2][2])
        self._efforts = deque([effort * ratio for effort in self._efforts], maxlen=len(self._efforts))
        self._doubted = False

    def rescale(self, factor: float) -> None:
        """Count the control in a unit that is `factor` times as large."""
        self._efforts = deque([effort / factor for effort in self._efforts], maxlen=len(self._efforts))
        if self._state:
            self._state = [self.entropy, self.drift, self.sensitivity * factor]
            units = (1.0, 1.0, factor)
            self._covariance = [[self._covariance[i][j] * units[i] * units[j] for j in range(3)] for i in range(3)]

    def act(self, control: float) -> None:
        """Take note of the control of this rollout, 0 where nothing is done."""
        self._efforts.appendleft(control * max(self.entropy, 0.0))

    def measure(self, entropy: float, noise: float) -> None:
        """
        Take in the entropy of a rollout.

        Args:
            entropy (`float`):
                Measured entropy, nats.
            noise (`float`):
                Its standard error, nats, above 0.
        """
        if not self._state:
            self._state = [entropy, 0.0, PRIOR_SENSITIVITY]
            self._covariance = _diagonal(noise**2, (PRIOR_DRIFT * entropy) ** 2, PRIOR_SENSITIVITY**2)
            return
        self._predict(noise)
        self._correct(entropy, noise)

    def _predict(self, noise: float) -> None:
        effort = (1.0 - CARRIED) * self._efforts[-2] + CARRIED * self._efforts[-1]
        moves = [[1.0, -1.0, effort], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
        turned = [list(column) for column in zip(*moves, strict=True)]
        self._state = [row[0] for row in _times(moves, [[value] for value in self._state])]
        self._covariance = _times(_times(moves, self._covariance), turned)
        changes = (ENTROPY_CHANGE * noise, DRIFT_CHANGE * noise, SENSITIVITY_CHANGE * self.sensitivity)
        for i, change in enumerate(changes):
            self._covariance[i][i] += change**2

    def _correct(self, entropy: float, noise: float) -> None:
        surprise = entropy - self.entropy
        variance = self._covariance[0][0] + noise**2
        ratio = surprise**2 / variance
        far_off = ratio > OUTLIER**2
        if far_off and not self._doubted:
            variance *= ratio / OUTLIER**2
        self._doubted = far_off
        gains = [row[0] / variance for row in self._covariance]
        observed = self._covariance[0]
        self._state = [value + gain * surprise for value, gain in zip(self._state, gains, strict=True)]
        self._covariance = [[self._covariance[i][j] - gains[i] * observed[j] for j in range(3)] for i in range(3)]
        self._drift_gain = -gains[1]

    def state_dict(self) -> dict[str, Any]:
        """The state as JSON values."""
        return {
            "efforts": list(self._efforts),
            "state": self._state,
            "covariance": self._covariance,
            "doubted": self._doubted,
            "drift_gain": self._drift_gain,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a saved state."""
        self._efforts = deque(state["efforts"], maxlen=len(state["efforts"]))
        self._state, self._covariance = state["state"], state["covariance"]
        self._doubted, self._drift_gain = state["doubted"], state["drift_gain"]


def _diagonal(*values: float) -> list[list[float]]:
    return [[value if i == j else 0.0 for j in range(len(values))] for i, value in enumerate(values)]


def _times(a: list[list[float]], b: list[list[float]]) -> list[list[float]]:
    return [[sum(x * y for x, y in zip(row, column, strict=True)) for column in zip(*b, strict=True)] for row in a]
