"""The self-tuned PID: the user names the target, the run gives the gains."""

from dataclasses import dataclass
from typing import Any

from .base import Controller, PlantKnowledge
from .dynamics import PlantEstimator
from .values import check_count


DISTINGUISHABLE = 2.0  # standard deviations of the sensitivity from zero at which the control is known to act
FIRST_REACH = 0.05  # share of half the range that the first control may go; twice as far once its effect shows
REVERSED = 2.5  # standard deviations below zero beyond which more control is taken to mean less entropy


@dataclass
class SelfTunedPIDController(Controller):
    """
    A PID with dead time and feed-forward whose gains come from an estimate of the plant; time is counted in rollouts.

        control = initial + kp * (target - expected entropy) + integral + kff * slope
        kp = kff = sensitivity / (sensitivity^2 + its variance) / entropy,  integral = kff * drift

    [`PlantEstimator`] filters each measurement by its own standard error and learns sensitivity and drift from the
    run. The expected entropy is the filtered one and what earlier controls will still do to it, so the dead time is
    not answered twice. One rollout is to correct its error, because the filter has taken the noise out already. The
    drift grows with every error that the model did not expect: that is the integral action. The bounded control enters
    the model, so nothing winds up. The variance of the sensitivity lowers the gains (the cautious regulator of Astrom
    and Wittenmark, "Adaptive Control", chapter 7). Until the run says otherwise, more control means more entropy.

    The first control stays within a twentieth of half the range of where it began, and may go twice as far with every
    dead time that passes, so a quick plant is found out before it does harm. The same begins again where the prompts
    change; the sensitivity stays as learned. Before [`begin`] the control is 0 and its bounds are -1 and 1.

    Args:
        dead_time (`int`):
            Rollouts from a control to the first entropy that shows it, 1 to 10. 1 where a rollout is sampled by the
            policy that all earlier updates made; more where generation runs ahead of training.
    """

    dead_time: int = 1

    def __post_init__(self) -> None:
        check_count("dead_time", self.dead_time, 1, most=10)
        self.begin(0.0, -1.0, 1.0)

    def begin(self, initial: float, low: float, high: float) -> None:
        self._initial, self._low, self._high = initial, low, high
        self._plant = PlantEstimator(self.dead_time)
        self._gain = self._part = self._center = 0.0
        self._reach = FIRST_REACH

    def take_over(self, initial: float, low: float, high: float, holds: bool) -> None:
        plant = self._plant
        self.begin(initial, low, high)
        plant.change_control(holds)
        self._plant = plant

    def update(self, target: float, entropy: float, slope: float = 0.0, noise: float | None = None) -> float:
        noise = _usable(noise, entropy)
        plant = self._plant
        plant.measure(entropy, noise)
        ahead = self.dead_time - 1
        expected = plant.entropy + plant.pending - ahead * plant.drift
        wanted = target + ahead * slope - expected + slope + plant.drift
        self._gain = self._cautious_inverse() / max(plant.entropy, noise)
        near, far = self._center - self._reach, self._center + self._reach  # in half ranges
        part = min(max(self._gain * wanted, near), far)
        self._reach = min(2.0 ** (1.0 / self.dead_time) * self._reach, 4.0)
        control = min(max(self._initial + self._scale * part, self._low), self._high)
        self._part = (control - self._initial) / self._scale
        plant.act(self._part)
        return control

    def rebase(self, target: float, entropy: float, noise: float | None = None) -> None:
        self._plant.rebase(entropy, _usable(noise, entropy))
        self._plant.act(self._part)
        self._center, self._reach = self._part, FIRST_REACH  # the new series is met with as much care as the first

    def _cautious_inverse(self) -> float:
        sensitivity, sd = self._plant.sensitivity, self._plant.sensitivity_sd
        if -REVERSED * sd < sensitivity < 0.5 * sd:
            sensitivity = 0.5 * sd
        return sensitivity / (sensitivity**2 + sd**2)

    @property
    def _scale(self) -> float:
        return (self._high - self._low) / 2.0  # a unit of the plant's control

    @property
    def knowledge(self) -> PlantKnowledge | None:
        """Knowledge of the plant from the run, in nats, rollouts and units of control; `None` before the first one."""
        plant, unit = self._plant, self._scale
        if not plant.measured:
            return None
        sensitivity, sd = plant.sensitivity, plant.sensitivity_sd
        kff = unit * self._gain
        return PlantKnowledge(
            acts=sensitivity > DISTINGUISHABLE * sd or sensitivity < -REVERSED * sd,
            push=sensitivity * self._part,
            strength=2.0 * max(abs(sensitivity) - DISTINGUISHABLE * sd, 0.0),
            dead_time=self.dead_time,
            estimate={
                "entropy": plant.entropy,
                "drift": plant.drift,
                "sensitivity": sensitivity * plant.entropy / unit,
                "sensitivity_sd": sd * plant.entropy / unit,
                "kp": kff,
                "ki": kff * plant.drift_gain,
                "kff": kff,
            },
        )

    def state_dict(self) -> dict[str, Any]:
        names = ("initial", "scale", "gain", "part", "center", "reach")
        numbers = {name: getattr(self, f"_{name}") for name in names}
        return {"dead_time": self.dead_time, **numbers, "plant": self._plant.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if state["dead_time"] != self.dead_time:
            written = state["dead_time"]
            words = f"with which the checkpoint was written, got {self.dead_time}: set {written}"
            raise ValueError(f"`dead_time` must be the {written} {words}")
        unit = self._scale / state["scale"]  # the bounds may have been moved
        self._initial, self._gain = state["initial"], state["gain"] / unit
        self._part, self._center, self._reach = (state[name] / unit for name in ("part", "center", "reach"))
        self._plant.load_state_dict(state["plant"])
        self._plant.rescale(unit)


def _usable(noise: float | None, entropy: float) -> float:
    """Return the standard error; a twentieth is assumed without one, and an exact measurement would stop the filter."""
    return max(0.05 * entropy if noise is None else noise, 1e-3 * entropy, 1e-6)
