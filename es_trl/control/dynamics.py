"""An estimate of the plant: how the entropy of a policy answers a control, with two unknowns learned from the run.

    entropy[t+1] = entropy[t] + sensitivity * entropy[t] * control[t] - drift

The plant integrates: a constant control moves entropy on and on. It moves it in proportion to the entropy that is left
(on the Countdown lab the sensitivity so defined is the same, within its error, at 0.37, 0.26 and 0.12 nats:
results/plant/summary.md), and a policy that learns loses `drift` nats per rollout by itself.
"""

import math
from collections import deque
from typing import Any

import numpy as np


# Adam's momentum carries a part of a control's effect one rollout further: on the Countdown lab 0.24, 0.28 and 0.11
# of it with 4, 8 and 16 updates per rollout (results/plant/summary.md).
CARRIED = 0.25
OUTLIER = 3.0  # standard deviations; one measurement further off weighs less, and a second one in a row is believed
# How much each number changes at random per rollout, as a standard deviation: entropy and drift in that of a
# measurement, the sensitivity in itself. More makes the control nervous, less makes it late.
ENTROPY_CHANGE, DRIFT_CHANGE, SENSITIVITY_CHANGE = 0.4, 0.05, 0.05
# A control of 1 is expected to move entropy by half of itself per rollout, give or take as much: careful with a quick
# plant, and found wrong within rollouts with a slow one, because no effect shows.
PRIOR_SENSITIVITY = 0.5
PRIOR_DRIFT = 0.03  # standard deviation of the first drift, over the entropy


class PlantEstimator:
    """
    A Kalman filter of entropy, drift and sensitivity: recursive least squares that knows the noise of each measurement.

    A rollout begins with [`measure`] and ends with [`act`]. Until the first measurement entropy, drift and pending are
    0, and the sensitivity is the prior. The dead time, at least 1, is that of [`SelfTunedPIDController`].
    """

    def __init__(self, dead_time: int = 1) -> None:
        self._efforts = deque([0.0] * (dead_time + 1), maxlen=dead_time + 1)  # control times entropy, the latest first
        self._state = np.array([0.0, 0.0, PRIOR_SENSITIVITY])  # entropy, drift, sensitivity
        self._covariance = np.diag([0.0, 0.0, PRIOR_SENSITIVITY**2])
        self.measured = False
        self._doubted = False
        self.drift_gain = 0.0  # share of a surprise that goes to the drift: the integral action of a loop around this

    @property
    def entropy(self) -> float:
        """Filtered entropy, nats."""
        return float(self._state[0])

    @property
    def drift(self) -> float:
        """Entropy lost per rollout without control, nats."""
        return float(self._state[1])

    @property
    def sensitivity(self) -> float:
        """Change of entropy per rollout and unit of control, as a share of the entropy."""
        return float(self._state[2])

    @property
    def sensitivity_sd(self) -> float:
        """Standard deviation of the sensitivity's estimate."""
        return math.sqrt(self._covariance[2, 2])

    @property
    def pending(self) -> float:
        """Change of entropy that past controls will still make, nats."""
        efforts = list(self._efforts)
        return self.sensitivity * (sum(efforts[:-2]) + CARRIED * efforts[-2])

    def change_control(self, holds: bool) -> None:
        """Go on with another control of unknown sensitivity; `holds` says whether the last one goes on acting."""
        held = self._efforts[0] if holds else 0.0
        entropy, drift, sensitivity = self._state
        self._state = np.array([entropy, drift - sensitivity * held, PRIOR_SENSITIVITY])
        across = np.array([1.0, -held])  # shares of the old drift and sensitivity in the new drift
        before, self._covariance = self._covariance, np.diag([self._covariance[0, 0], 0.0, PRIOR_SENSITIVITY**2])
        self._covariance[0, 1] = self._covariance[1, 0] = (across * before[0, 1:]).sum()
        self._covariance[1, 1] = (np.outer(across, across) * before[1:, 1:]).sum()
        self._efforts = deque([0.0] * len(self._efforts), maxlen=len(self._efforts))

    def rebase(self, entropy: float, noise: float) -> None:
        """Go on from `entropy`, of other prompts or lengths; sensitivity and drift stay as known, as shares of it."""
        if not self.measured:
            return self.measure(entropy, noise)
        ratio = entropy / max(self.entropy, noise)
        self._state = np.array([entropy, self.drift * ratio, self.sensitivity])
        self._covariance = np.diag([noise**2, (PRIOR_DRIFT * entropy) ** 2, self._covariance[2, 2]])
        self._efforts = deque([effort * ratio for effort in self._efforts], maxlen=len(self._efforts))
        self._doubted = False

    def rescale(self, factor: float) -> None:
        """Count the control in a unit that is `factor` times as large."""
        self._efforts = deque([effort / factor for effort in self._efforts], maxlen=len(self._efforts))
        units = np.array([1.0, 1.0, factor])
        self._state = self._state * units
        self._covariance = self._covariance * units * units[:, None]

    def act(self, control: float) -> None:
        """Take note of the control of this rollout, 0 where nothing is done."""
        self._efforts.appendleft(control * max(self.entropy, 0.0))

    def measure(self, entropy: float, noise: float) -> None:
        """Take in the entropy of a rollout and its standard error, above 0, both in nats."""
        if not self.measured:
            self.measured = True
            self._state[0] = entropy
            self._covariance[0, 0], self._covariance[1, 1] = noise**2, (PRIOR_DRIFT * entropy) ** 2
            return
        self._predict(noise)
        self._correct(entropy, noise)

    def _predict(self, noise: float) -> None:
        # The model as operations on rows and columns, M C M^T: a general product would sum in another order on another
        # machine's BLAS, and the control would differ in its last bit.
        effort = (1.0 - CARRIED) * self._efforts[-2] + CARRIED * self._efforts[-1]
        state, covariance = self._state, self._covariance.copy()
        self._state = np.array([state[0] - state[1] + effort * state[2], state[1], state[2]])
        covariance[0] = covariance[0] - covariance[1] + effort * covariance[2]
        covariance[:, 0] = covariance[:, 0] - covariance[:, 1] + effort * covariance[:, 2]
        changes = (ENTROPY_CHANGE * noise, DRIFT_CHANGE * noise, SENSITIVITY_CHANGE * self.sensitivity)
        self._covariance = covariance + np.diag([change**2 for change in changes])

    def _correct(self, entropy: float, noise: float) -> None:
        surprise = entropy - self.entropy
        variance = self._covariance[0, 0] + noise**2
        ratio = surprise**2 / variance
        far_off = bool(ratio > OUTLIER**2)
        if far_off and not self._doubted:
            variance *= ratio / OUTLIER**2
        self._doubted = far_off
        gains = self._covariance[:, 0] / variance
        self._state = self._state + gains * surprise
        self._covariance = self._covariance - np.outer(gains, self._covariance[0])
        self.drift_gain = -float(gains[1])

    def state_dict(self) -> dict[str, Any]:
        """Return the state as JSON values."""
        return {
            "efforts": list(self._efforts),
            "state": self._state.tolist() if self.measured else [],
            "covariance": self._covariance.tolist() if self.measured else [],
            "doubted": self._doubted,
            "drift_gain": self.drift_gain,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a saved state."""
        self._efforts = deque(state["efforts"], maxlen=len(state["efforts"]))
        self.measured = bool(state["state"])
        if self.measured:
            self._state, self._covariance = np.array(state["state"]), np.array(state["covariance"])
        self._doubted, self.drift_gain = state["doubted"], state["drift_gain"]
