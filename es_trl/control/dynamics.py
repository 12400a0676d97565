"""A filter that learns from the run how entropy answers a control, for effects of any size and of either sign.

"Plant" is control theory's word for what a controller moves. Here the plant is the policy, modelled as

    entropy[t+1] = entropy[t] + sensitivity * entropy[t] * control[t] - drift

with two numbers to learn: `sensitivity` and `drift`. A constant control moves entropy further at every rollout, in
proportion to the present entropy. On the Countdown lab the sensitivity is the same, within its error, at 0.37, 0.26 and
0.12 nats (results/plant/summary.md). A policy that learns loses `drift` nats per rollout without any control.

The size of the sensitivity is not known before a run, and for some actuators neither is its sign. So one Kalman filter
of entropy and drift runs for each sensitivity of a logarithmic grid, and each has a weight, which is the probability of
its sensitivity. This is the interacting multiple model filter of Blom and Bar-Shalom (1988).
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
# The standard deviation of the random change of entropy and drift per rollout, as a multiple of the measurement's
# standard error. With larger values the control follows the noise, with smaller values it reacts late.
ENTROPY_CHANGE, DRIFT_CHANGE = 0.4, 0.05
PRIOR_DRIFT = 0.06  # standard deviation of the initial drift, as a share of the entropy

# The sensitivities: 0, and from 0.001 to 316 in either direction, six per power of ten. A model of 0.4 M parameters and
# one of 7 B differ by a factor of hundreds in what an entropy bonus does to them.
_SIZES = [10.0 ** (power / 6.0) for power in range(-18, 16)]
GRID = np.array([*(-size for size in reversed(_SIZES)), 0.0, *_SIZES])
PRIOR_POSITIVE = 0.95  # probability, before any measurement, that more control means more entropy
PRIOR_ZERO = 0.02
# Larger sensitivities are less likely, in proportion to their size. Otherwise a fall of the entropy beside a small
# control is taken for its effect.
PRIOR_USUAL = 0.3
# The probabilities per rollout that the sensitivity goes to a neighbour in the grid, to its opposite, or anywhere with
# the probabilities of the prior. If large ones were as likely as small ones, a control near 0 could stay there: it
# refutes no large one, so that caution would keep it small for good.
TO_NEIGHBOUR, TO_OPPOSITE, TO_ANY = 0.005, 0.0003, 0.0003
LEAST_WEIGHT = 1e-12  # no sensitivity is ever excluded, because a run can change


class PlantEstimator:
    """
    A filter of entropy, drift and sensitivity, which weighs each measurement by its noise.

    Call [`measure`] at the beginning of each rollout and [`act`] at its end. Before the first measurement entropy and
    drift are 0, and the sensitivity has its prior distribution.

    Args:
        dead_time (`int`, *optional*, defaults to `1`):
            Number of rollouts from a control to the first entropy that shows its effect, at least 1.
    """

    def __init__(self, dead_time: int = 1) -> None:
        # control times entropy of past rollouts, the latest first
        self._efforts = deque([0.0] * (dead_time + 1), maxlen=dead_time + 1)
        self._grid = GRID
        self._weights = _prior()
        # one value per sensitivity: the estimates, and the three numbers of their covariance
        self._entropies, self._drifts, self._hh, self._hd, self._dd = np.zeros((5, len(GRID)))
        self.measured, self.noise = False, 0.0  # the standard error of the latest measurement
        self._doubted = False
        # the share of the last prediction error that changed the drift: the integral action of a controller
        self.drift_gain = 0.0

    def _mean(self, values: np.ndarray) -> float:
        return math.fsum(self._weights * values)  # exact, so that it does not depend on the machine

    @property
    def entropy(self) -> float:
        """The filtered entropy in nats."""
        return self._mean(self._entropies)

    @property
    def drift(self) -> float:
        """The entropy in nats that is lost per rollout without control."""
        return self._mean(self._drifts)

    @property
    def sensitivity(self) -> float:
        """The change of entropy per rollout and unit of control, as a share of the entropy."""
        return self._mean(self._grid)

    @property
    def sensitivity_sd(self) -> float:
        """The uncertainty of the sensitivity: half the width of the range that has the middle 68 % of probability."""
        return (self.quantile(0.84) - self.quantile(0.16)) / 2.0

    def quantile(self, probability: float) -> float:
        """Return the sensitivity below which the true one lies with this probability."""
        below = np.cumsum(self._weights) - self._weights / 2.0
        return float(np.interp(probability, below, self._grid))

    @property
    def positive(self) -> float:
        """The probability that more control means more entropy."""
        return math.fsum(self._weights[self._grid > 0.0])

    @property
    def negative(self) -> float:
        """The probability that more control means less entropy."""
        return math.fsum(self._weights[self._grid < 0.0])

    @property
    def gain(self) -> float:
        """The control per nat of [`cautious_control`], which shrinks with the uncertainty of the sensitivity."""
        return self.sensitivity / self._caution

    @property
    def _caution(self) -> float:
        return self._mean(self._grid**2) * max(self.entropy, 1e-6)

    def expected(self, rollouts: int) -> np.ndarray:
        """Return the entropies in nats after some rollouts if no control follows, one value per sensitivity."""
        efforts = list(self._efforts)
        pending = sum(efforts[:-2]) + CARRIED * efforts[-2]
        return self._entropies + self._grid * pending - rollouts * self._drifts

    def cautious_control(self, goal: float, rollouts: int) -> float:
        """
        Return the control that brings entropy nearest to `goal` in the mean square over all sensitivities.

        So a large sensitivity that is still possible keeps the control small, and opposite ones cancel out.

        Args:
            goal (`float`):
                Entropy to reach in nats.
            rollouts (`int`):
                Number of rollouts until then, at least the dead time.

        Returns:
            `float`: the control.
        """
        missing = self._mean(self._grid * (goal - self.expected(rollouts)))
        return missing / self._caution

    def change_control(self, holds: bool) -> None:
        """
        Go on with another actuator, whose sensitivity is not known.

        With `holds` the actuator before stays at its control, so the effect of that control becomes a part of the
        drift.
        """
        held = self._efforts[0] if holds else 0.0
        overall = self._overall(self._drifts - self._grid * held)
        self._entropies, self._drifts, self._hh, self._hd, self._dd = np.outer(overall, np.ones(len(GRID)))
        self._grid, self._weights = GRID, _prior()
        self._efforts = deque([0.0] * len(self._efforts), maxlen=len(self._efforts))

    def estimate(self, unit: float) -> dict[str, float]:
        """Return the learned numbers by name, in nats, rollouts and units of a control of which `unit` makes a part."""
        return {
            "entropy": self.entropy,
            "drift": self.drift,
            "sensitivity": self.sensitivity * self.entropy / unit,
            "sensitivity_sd": self.sensitivity_sd * self.entropy / unit,
            "positive": self.positive,
        }

    def rebase(self, entropy: float, noise: float | None) -> None:
        """
        Go on from the first entropy on other prompts or lengths. The arguments are those of [`measure`].

        Sensitivity and drift keep their values as shares of the entropy.
        """
        self.noise = noise = _usable(noise, entropy)
        if not self.measured:
            return self.measure(entropy, noise)
        ratio = entropy / max(self.entropy, noise)
        self._drifts = self._drifts * ratio
        self._start(entropy, noise)
        self._efforts = deque([effort * ratio for effort in self._efforts], maxlen=len(self._efforts))
        self._doubted = False

    def _start(self, entropy: float, noise: float) -> None:
        values = [entropy, noise**2, 0.0, (PRIOR_DRIFT * entropy) ** 2]
        self._entropies, self._hh, self._hd, self._dd = np.outer(values, np.ones(len(GRID)))

    def reverse(self) -> None:
        """Take each sensitivity to be as likely as its opposite was."""
        self._weights = self._weights[::-1]

    def rescale(self, factor: float) -> None:
        """Change to a unit of the control that is `factor` times as large."""
        self._efforts = deque([effort / factor for effort in self._efforts], maxlen=len(self._efforts))
        self._grid = self._grid * factor

    def act(self, control: float) -> None:
        """Record the control of this rollout, 0 if nothing acts."""
        self._efforts.appendleft(control * max(self.entropy, 0.0))

    def measure(self, entropy: float, noise: float | None) -> None:
        """Take in the entropy of a rollout and its standard error `noise`, or `None` if it is not known, in nats."""
        self.noise = noise = _usable(noise, entropy)
        if not self.measured:
            self.measured = True
            return self._start(entropy, noise)
        self._mix()
        self._predict(noise)
        self._correct(entropy, noise)

    def _overall(self, drifts: np.ndarray) -> list[float]:
        """Return entropy, drift and the numbers of their covariance over all sensitivities."""
        entropy, drift = self._mean(self._entropies), self._mean(drifts)
        off, drift_off = self._entropies - entropy, drifts - drift
        covariance = self._hh + off**2, self._hd + off * drift_off, self._dd + drift_off**2
        return [entropy, drift, *(self._mean(values) for values in covariance)]

    def _mix(self) -> None:
        """Let the sensitivity change with its probability, and each filter go on from where it may have come from."""
        rest = 1.0 - TO_NEIGHBOUR - TO_OPPOSITE - TO_ANY
        odds = np.array([rest, TO_NEIGHBOUR / 2.0, TO_NEIGHBOUR / 2.0, TO_OPPOSITE, TO_ANY])
        overall = self._overall(self._drifts)
        filters = self._entropies, self._drifts, self._hh, self._hd, self._dd
        entropies, drifts, hh, hd, dd = (_sources(*pair) for pair in zip(filters, overall, strict=True))
        weights = odds[:, None] * _sources(self._weights, _prior())
        self._weights = weights.sum(axis=0)
        shares = weights / self._weights
        self._entropies, self._drifts = (shares * entropies).sum(axis=0), (shares * drifts).sum(axis=0)
        off, drift_off = entropies - self._entropies, drifts - self._drifts
        self._hh = (shares * (hh + off**2)).sum(axis=0)
        self._hd = (shares * (hd + off * drift_off)).sum(axis=0)
        self._dd = (shares * (dd + drift_off**2)).sum(axis=0)

    def _predict(self, noise: float) -> None:
        effort = (1.0 - CARRIED) * self._efforts[-2] + CARRIED * self._efforts[-1]
        self._entropies = self._entropies - self._drifts + effort * self._grid
        self._hh = self._hh - 2.0 * self._hd + self._dd + (ENTROPY_CHANGE * noise) ** 2
        self._hd = self._hd - self._dd
        self._dd = self._dd + (DRIFT_CHANGE * noise) ** 2

    def _correct(self, entropy: float, noise: float) -> None:
        surprises = entropy - self._entropies
        variances = self._hh + noise**2
        ratios = surprises**2 / variances
        nearest = float(ratios[self._weights > 1e-4].min())  # for the sensitivities that are likely at all
        far_off = nearest > OUTLIER**2
        if far_off and not self._doubted:
            variances = variances * nearest / OUTLIER**2
        self._doubted = far_off
        # math's functions, because NumPy's differ in their last bit from one processor to another
        evidence = -0.5 * (surprises**2 / variances + np.array([math.log(variance) for variance in variances]))
        likelihoods = np.array([math.exp(value) for value in evidence - evidence.max()])
        weights = np.maximum(self._weights * likelihoods, LEAST_WEIGHT)
        self._weights = weights / math.fsum(weights)
        gains, drift_gains = self._hh / variances, self._hd / variances
        self._entropies, self._drifts = self._entropies + gains * surprises, self._drifts + drift_gains * surprises
        self._dd = self._dd - drift_gains * self._hd
        self._hh, self._hd = self._hh - gains * self._hh, self._hd - gains * self._hd
        self.drift_gain = -self._mean(drift_gains)

    _ARRAYS = ("grid", "weights", "entropies", "drifts", "hh", "hd", "dd")

    def state_dict(self) -> dict[str, Any]:
        """Return the state as JSON values."""
        return {
            "efforts": list(self._efforts),
            "measured": self.measured,
            "doubted": self._doubted,
            "drift_gain": self.drift_gain,
            **{name: getattr(self, f"_{name}").tolist() for name in self._ARRAYS},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a saved state."""
        self._efforts = deque(state["efforts"], maxlen=len(state["efforts"]))
        self.measured, self._doubted, self.drift_gain = state["measured"], state["doubted"], state["drift_gain"]
        for name in self._ARRAYS:
            setattr(self, f"_{name}", np.array(state[name]))


def _usable(noise: float | None, entropy: float) -> float:
    """
    Return a standard error that the filter can use.

    Without one it is assumed to be 5 % of the entropy. It is kept above 0, because the filter would stop after an exact
    measurement.
    """
    return max(0.05 * entropy if noise is None else noise, 1e-3 * entropy, 1e-6)


def _prior() -> np.ndarray:
    """Return the probabilities of the sensitivities before any measurement."""
    shape = np.array([0.0 if size == 0.0 else min(PRIOR_USUAL / size, 1.0) for size in abs(GRID)])
    sides = np.where(GRID > 0.0, PRIOR_POSITIVE, 1.0 - PRIOR_POSITIVE - PRIOR_ZERO)
    return np.where(GRID == 0.0, PRIOR_ZERO, sides * shape / math.fsum(shape / 2.0))


def _sources(values: np.ndarray, anywhere: float | np.ndarray) -> np.ndarray:
    """Return each sensitivity's own value, those of its neighbours and of the opposite one, and the one of them all."""
    lower, higher = np.append(values[0], values[:-1]), np.append(values[1:], values[-1])
    return np.stack([values, lower, higher, values[::-1], np.broadcast_to(anywhere, values.shape)])
