"""A Kalman filter that learns from the run how entropy answers a control.

"Plant" is control theory's word for what a controller moves. Here the plant is the policy, modelled as

    entropy[t+1] = entropy[t] + sensitivity * entropy[t] * control[t] - drift

with two numbers to learn: `sensitivity` and `drift`. A constant control moves entropy further at every rollout, in
proportion to the present entropy. On the Countdown lab the sensitivity is the same, within its error, at 0.37, 0.26 and
0.12 nats (results/plant/summary.md). A policy that learns loses `drift` nats per rollout without any control.
"""

import math
from collections import deque
from typing import Any

import numpy as np


# Adam's momentum delays a share of a control's effect by one rollout. On the Countdown lab this share is 0.24, 0.28 and
# 0.11 with 4, 8 and 16 updates per rollout (results/plant/summary.md).
CARRIED = 0.25
# A measurement more than this many standard deviations off gets a lower weight; a second one in a row is believed.
OUTLIER = 3.0
# The standard deviation of each number's random change per rollout: of entropy and drift as a multiple of the
# measurement's standard error, of the sensitivity as a share of itself. With larger values the control follows the
# noise, with smaller values it reacts late.
ENTROPY_CHANGE, DRIFT_CHANGE, SENSITIVITY_CHANGE = 0.4, 0.05, 0.05
# Before any measurement, a control of 1 is expected to move entropy by half of itself per rollout, with a standard
# deviation of the same size. This keeps the first controls small, in case they act strongly. If they act weakly, the
# filter soon corrects the number, because the expected effect does not show.
PRIOR_SENSITIVITY = 0.5
PRIOR_DRIFT = 0.03  # standard deviation of the initial drift, as a share of the entropy


class PlantEstimator:
    """
    A Kalman filter of entropy, drift and sensitivity, which weighs each measurement by its noise.

    Call [`measure`] at the beginning of each rollout and [`act`] at its end. Before the first measurement `entropy`,
    `drift` and `pending` are 0, and `sensitivity` has its prior value.

    Args:
        dead_time (`int`, *optional*, defaults to `1`):
            Number of rollouts from a control to the first entropy that shows its effect, at least 1.
    """

    def __init__(self, dead_time: int = 1) -> None:
        # control times entropy of past rollouts, the latest first
        self._efforts = deque([0.0] * (dead_time + 1), maxlen=dead_time + 1)
        self._state = np.array([0.0, 0.0, PRIOR_SENSITIVITY])  # entropy, drift, sensitivity
        self._covariance = np.diag([0.0, 0.0, PRIOR_SENSITIVITY**2])
        self.measured = False
        self._doubted = False
        # the share of the last prediction error that changed the drift: the integral action of a controller
        self.drift_gain = 0.0

    @property
    def entropy(self) -> float:
        """The filtered entropy in nats."""
        return float(self._state[0])

    @property
    def drift(self) -> float:
        """The entropy in nats that is lost per rollout without control."""
        return float(self._state[1])

    @property
    def sensitivity(self) -> float:
        """The change of entropy per rollout and unit of control, as a share of the entropy."""
        return float(self._state[2])

    @property
    def sensitivity_sd(self) -> float:
        """The standard deviation of the estimate of the sensitivity."""
        return math.sqrt(self._covariance[2, 2])

    @property
    def pending(self) -> float:
        """The change of entropy in nats that past controls will still cause."""
        efforts = list(self._efforts)
        return self.sensitivity * (sum(efforts[:-2]) + CARRIED * efforts[-2])

    def change_control(self, holds: bool) -> None:
        """
        Go on with another actuator, whose sensitivity is not known.

        With `holds` the actuator before stays at its control, so the effect of that control becomes a part of the
        drift.
        """
        held = self._efforts[0] if holds else 0.0
        entropy, drift, sensitivity = self._state
        self._state = np.array([entropy, drift - sensitivity * held, PRIOR_SENSITIVITY])
        across = np.array([1.0, -held])  # weights of the old drift and of the old sensitivity in the new drift
        before, self._covariance = self._covariance, np.diag([self._covariance[0, 0], 0.0, PRIOR_SENSITIVITY**2])
        self._covariance[0, 1] = self._covariance[1, 0] = (across * before[0, 1:]).sum()
        self._covariance[1, 1] = (np.outer(across, across) * before[1:, 1:]).sum()
        self._efforts = deque([0.0] * len(self._efforts), maxlen=len(self._efforts))

    def rebase(self, entropy: float, noise: float) -> None:
        """
        Go on from the first entropy on other prompts or lengths, with its standard error `noise`, both in nats.

        Sensitivity and drift keep their values as shares of the entropy.
        """
        if not self.measured:
            return self.measure(entropy, noise)
        ratio = entropy / max(self.entropy, noise)
        self._state = np.array([entropy, self.drift * ratio, self.sensitivity])
        self._covariance = np.diag([noise**2, (PRIOR_DRIFT * entropy) ** 2, self._covariance[2, 2]])
        self._efforts = deque([effort * ratio for effort in self._efforts], maxlen=len(self._efforts))
        self._doubted = False

    def rescale(self, factor: float) -> None:
        """Change to a unit of the control that is `factor` times as large."""
        self._efforts = deque([effort / factor for effort in self._efforts], maxlen=len(self._efforts))
        units = np.array([1.0, 1.0, factor])
        self._state = self._state * units
        self._covariance = self._covariance * units * units[:, None]

    def act(self, control: float) -> None:
        """Record the control of this rollout, 0 if nothing acts."""
        self._efforts.appendleft(control * max(self.entropy, 0.0))

    def measure(self, entropy: float, noise: float) -> None:
        """Take in the entropy of a rollout and its standard error `noise`, which is above 0, both in nats."""
        if not self.measured:
            self.measured = True
            self._state[0] = entropy
            self._covariance[0, 0], self._covariance[1, 1] = noise**2, (PRIOR_DRIFT * entropy) ** 2
            return
        self._predict(noise)
        self._correct(entropy, noise)

    def _predict(self, noise: float) -> None:
        # The product M C M^T is written as operations on rows and columns. A matrix product would sum in an order that
        # depends on the machine's BLAS, so that the control would differ in its last bit.
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
        """Restore a saved state."""
        self._efforts = deque(state["efforts"], maxlen=len(state["efforts"]))
        self.measured = bool(state["state"])
        if self.measured:
            self._state, self._covariance = np.array(state["state"]), np.array(state["covariance"])
        self._doubted, self.drift_gain = state["doubted"], state["drift_gain"]
