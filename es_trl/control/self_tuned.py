"""The self-tuned PID controller, which learns its gains during the run."""

from dataclasses import dataclass
from typing import Any

from .base import Controller, PlantKnowledge
from .dynamics import PlantEstimator
from .values import check_count


# The control is known to act if the probability of one sign of the sensitivity is above this.
CERTAIN, SURE = 0.977, 0.995
# The control moves at most this far from its start in the first rollout, as a share of half its range, and then at most
# `GROWTH` times as far as before. So a plant that answers large controls out of proportion is noticed in time.
FIRST_REACH, GROWTH = 0.005, 3.0
SWITCH_REACH = 0.05  # the same after a switch, where the sensitivity is known for the earlier prompts and lengths
NOISES = 2.0  # standard errors of entropy beyond which an error is more than noise
TRIAL = 8  # rollouts at a bound without a certain effect, after which the other direction is tried


@dataclass
class SelfTunedPIDController(Controller):
    """
    A PID controller with dead time and feed-forward that learns its gains from the run. Time is counted in rollouts.

        control = initial + kp * (target - expected entropy) + integral + kff * slope
        kp = kff = mean of s / mean of s^2 / entropy,  integral = kff * drift

    The means are over the sensitivities s that are possible, each with its probability.

    - Estimate: [`PlantEstimator`] learns sensitivity and drift from the run. It weighs each measurement by its standard
      error. The sensitivity may have any size and either sign, and it may change.
    - Expected entropy: the filtered entropy plus the change that earlier controls will still cause. So the controller
      does not correct the same error twice during the dead time.
    - Proportional action: each control aims to correct the whole error in one rollout, because the filter has already
      removed the noise.
    - Integral action: each error of the prediction changes the drift.
    - Saturation: the model receives the bounded control, so there is no windup.
    - Caution: uncertainty of the sensitivity lowers the gains (Astrom and Wittenmark's cautious regulator, "Adaptive
      Control", chapter 7). The first controls are small, because large sensitivities are still possible. Each control
      without a visible effect rules some of them out, so the next one is larger.
    - Bounds: they limit the control and are no gain. Wide ones cost some rollouts at the start.
    - Trial: at a bound the control no longer changes, so its effect cannot be learned. If entropy stays off its target
      there, comes no nearer, and the effect is not certain, the control tries the other direction.
    - Switch: the control stays for one rollout and then goes away from there in small steps. New prompts can answer the
      control many times as strongly as the earlier ones did. So its way back to no control is always open, and it goes
      back at the switch itself, by one over the dead time, if the new error asks for that by more than its noise.

    Before [`begin`] the control is 0 and its bounds are -1 and 1.

    Args:
        dead_time (`int`, *optional*, defaults to `1`):
            Number of rollouts from a control to the first entropy that shows its effect, from 1 to 10. It is 1 if each
            rollout is sampled after all earlier updates, and more if generation runs ahead of training.

    Raises:
        ValueError: for a dead time out of its range.
    """

    dead_time: int = 1

    def __post_init__(self) -> None:
        check_count("dead_time", self.dead_time, 1, most=10)
        self.begin(0.0, -1.0, 1.0)

    def begin(self, initial: float, low: float, high: float) -> None:
        """Start afresh from the control `initial`, with nothing learned."""
        self._initial, self._low, self._high = initial, low, high
        self._plant = PlantEstimator(self.dead_time)
        self._part = self._center = 0.0  # of the control, in units of half the range
        self._reach = FIRST_REACH
        self._neutral = True  # whether the start is no control, at which the settings are those of the configuration
        # whether the control is at a bound, the rollouts there that have not brought entropy nearer, its error before
        # them, and how many of them are enough
        self._at_bound, self._stuck, self._error, self._patience = False, 0, 0.0, TRIAL

    def take_over(self, initial: float, low: float, high: float, holds: bool) -> None:
        """Go on with another actuator: entropy and drift stay, the sensitivity is learned anew."""
        plant = self._plant
        self.begin(initial, low, high)
        plant.change_control(holds)
        self._plant = plant
        self._neutral = holds  # the next actuator starts from no control, one that acts again from where it was left

    def update(self, target: float, entropy: float, slope: float = 0.0, noise: float | None = None) -> float:
        """Learn from the measured entropy, and return the next control."""
        plant = self._plant
        plant.measure(entropy, noise)
        self._try_the_other_direction(target - entropy, plant.noise)
        wanted = plant.cautious_control(target + self.dead_time * slope, self.dead_time)
        low, high = self._with_way_back(self._center - self._reach, self._center + self._reach)
        part = min(max(wanted, low), high)
        control = self._control_at(part)
        self._part = (control - self._initial) / self._scale
        self._at_bound = control in (self._low, self._high)
        moved = abs(self._part - self._center)
        self._reach = max(self._reach, GROWTH ** (1.0 / self.dead_time) * moved)
        plant.act(self._part)
        return control

    def _try_the_other_direction(self, error: float, noise: float) -> None:
        """Reverse the sensitivity if a bound has not brought entropy nearer, and its effect is not certain."""
        helps = abs(error) < max(self._error - noise, NOISES * noise)
        if self._part == 0.0:  # the start is a bound: only entropy that leaves the target by itself is worth a trial
            leaving = self._plant.drift if error > 0.0 else -self._plant.drift
            helps = helps or TRIAL * leaving < NOISES * noise
        if not self._at_bound or self._certain(SURE) or helps:
            self._stuck, self._error = 0, abs(error)
        else:
            self._stuck += 1
        if self._stuck >= self._patience + self.dead_time - 1:
            self._plant.reverse()
            self._center, self._reach = 0.0, SWITCH_REACH if self._part != 0.0 else FIRST_REACH
            self._stuck, self._error, self._patience = 0, abs(error), 2 * self._patience

    def _certain(self, probability: float) -> bool:
        """Whether one sign of the sensitivity has more than this probability."""
        return max(self._plant.positive, self._plant.negative) > probability

    def rebase(self, target: float, entropy: float, noise: float | None = None) -> float | None:
        """Keep the sensitivity, and the control unless the new error asks for less of it, and move slowly from here."""
        plant, before = self._plant, self._part
        plant.rebase(entropy, noise)
        if abs(target - entropy) > NOISES * plant.noise:
            wanted = plant.cautious_control(target, self.dead_time)
            low, high = self._with_way_back(before, before)
            self._part += (min(max(wanted, low), high) - before) / self.dead_time
        plant.act(self._part)
        self._center, self._reach = self._part, SWITCH_REACH  # the new prompts may answer the control more strongly
        self._at_bound, self._stuck = False, 0
        return None if self._part == before else self._control_at(self._part)

    def _with_way_back(self, low: float, high: float) -> tuple[float, float]:
        """Return the interval that these parts and no control span, or theirs if the start is not no control."""
        return (min(low, 0.0), max(high, 0.0)) if self._neutral else (low, high)

    def _control_at(self, part: float) -> float:
        return min(max(self._initial + self._scale * part, self._low), self._high)

    @property
    def _scale(self) -> float:
        return (self._high - self._low) / 2.0  # half the range, which is the estimator's unit of control

    @property
    def knowledge(self) -> PlantKnowledge | None:
        """The knowledge from the run, in nats, rollouts and units of control; `None` before the first rollout."""
        plant, unit = self._plant, self._scale
        if not plant.measured:
            return None
        kff = unit * plant.gain
        return PlantKnowledge(
            acts=self._certain(CERTAIN),
            push=plant.sensitivity * self._part,
            strength=2.0 * max(plant.quantile(1.0 - CERTAIN), -plant.quantile(CERTAIN), 0.0),
            dead_time=self.dead_time,
            estimate={**plant.estimate(unit), "kp": kff, "ki": kff * plant.drift_gain, "kff": kff},
        )

    _TRIED = ("at_bound", "stuck", "error", "patience")

    def state_dict(self) -> dict[str, Any]:
        """Return the control and the estimate as JSON values."""
        numbers = {
            name: getattr(self, f"_{name}") for name in ("initial", "scale", "part", "center", "reach", *self._TRIED)
        }
        return {"dead_time": self.dead_time, "neutral": self._neutral, **numbers, "plant": self._plant.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a saved state; raise `ValueError` if it has another dead time."""
        if state["dead_time"] != self.dead_time:
            written = state["dead_time"]
            words = f"as in the checkpoint, got {self.dead_time}: set dead_time to {written}"
            raise ValueError(f"`dead_time` must be {written}, {words}")
        unit = self._scale / state["scale"]  # the configuration may have other bounds than the checkpoint
        self._initial = state["initial"]
        self._at_bound, self._stuck, self._error, self._patience = (state[name] for name in self._TRIED)
        self._part, self._center, self._reach = (state[name] / unit for name in ("part", "center", "reach"))
        lowest, highest = ((bound - self._initial) / self._scale for bound in (self._low, self._high))
        self._part = min(max(self._part, lowest), highest)
        self._neutral = state.get("neutral", True)
        self._plant.load_state_dict(state["plant"])
        self._plant.rescale(unit)
