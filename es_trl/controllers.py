"""Controllers: target and measured entropy in, control out, once a rollout.

Pure state machines on the standard library. A controller works in the unit of its actuator's control, whose bounds and
starting value [`Controller.begin`] hands over; it holds nothing but numbers, which `state_dict` returns.

Source: "Entropy Scheduling in Reinforcement Learning for Large Language Models", Algorithm 1 and section 4.1.
"""

import math
from collections import deque
from dataclasses import dataclass
from typing import Any


RELEASE = 0.7  # of the offset that keeps a switch bumpless is left after each rollout: a sixth after five


class Controller:
    """
    What the control loop asks of a controller.

    A controller defines `begin`, `update`, `rebase`, `state_dict` and `load_state_dict`; the rest is for one that
    learns.
    `dead_time` counts the rollouts from a control to the first entropy that shows it. One that `needs_target` cannot
    run without a schedule; one that `gives_sign` has nothing to say but more, less or neither.
    """

    dead_time = 1
    needs_target = True
    gives_sign = False

    def begin(self, initial: float, low: float, high: float) -> None:
        """Start afresh from the control `initial`, to move within [`low`, `high`]."""
        raise NotImplementedError

    def take_over(self, initial: float, low: float, high: float, holds: bool) -> None:
        """
        Go on with another actuator from the control `initial`, to move within [`low`, `high`].

        Args:
            initial (`float`), low (`float`), high (`float`):
                As in [`begin`].
            holds (`bool`):
                Whether the last actuator stays at its control, or has gone back to where it began.
        """
        self.begin(initial, low, high)

    def update(self, target: float, entropy: float, slope: float, noise: float | None) -> float:
        """
        The control for the updates of this rollout.

        Args:
            target (`float`), entropy (`float`):
                Scheduled and measured entropy of this rollout, nats.
            slope (`float`):
                What the target will have changed by at the next rollout, nats.
            noise (`float`, *optional*):
                Standard error of the measured entropy, nats; `None` where it is not known.

        Returns:
            `float`: the control, within the bounds.
        """
        raise NotImplementedError

    def rebase(self, target: float, entropy: float, noise: float | None) -> None:
        """
        Take `entropy` for the first of a new series, measured on other prompts or lengths than all before.

        That it differs from the last one says nothing of what the control did. The control stays as it is, and what
        the controller knew of past entropies is forgotten; the arguments are those of [`update`].
        """
        raise NotImplementedError

    @property
    def has_authority(self) -> bool:
        """Whether the control is known to move entropy; `True` where the controller cannot tell."""
        return True

    @property
    def push(self) -> float:
        """What the present control moves entropy by in a rollout, as a share of it; 0 where that is not known."""
        return 0.0

    @property
    def strength(self) -> float | None:
        """What its whole range surely moves entropy by, as such a share; `None` where that is not known."""
        return None

    @property
    def estimate(self) -> dict[str, float] | None:
        """What the controller has learned of the plant, for the history."""
        return None

    def state_dict(self) -> dict[str, Any]:
        """The state as JSON values."""
        raise NotImplementedError

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a saved state; called after [`begin`]."""
        raise NotImplementedError


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


@dataclass
class PIDController(Controller):
    """
    A discrete PID with feed-forward of the target; time is counted in rollouts.

        control = kp * error + integral + kd * (previous entropy - entropy) + kff * slope
        integral = initial + ki * (sum of errors)

    The start is bumpless in the sense of simple-pid's `starting_output`: the integral begins at the control that the
    trainer has, so at zero error nothing moves, and an error that is there at the start acts at once. The derivative
    acts on the measurement, so a step of the target does not kick. An error that would push a saturated control
    further out is not integrated, so there is no windup. Where the prompts change, an offset keeps the control where it
    is, and goes away by three tenths a rollout: the jump is answered, and not at once.

    Args:
        kp (`float`), ki (`float`), kd (`float`):
            Gains, at least 0, in the unit of the control per nat (`ki`: per nat and rollout).
        kff (`float`):
            Feed-forward gain, at least 0: control per nat that the target will change by at the next rollout. It is
            the inverse of what one unit of control moves entropy by in a rollout.
    """

    kp: float = 1.0
    ki: float = 0.05
    kd: float = 0.0
    kff: float = 0.0

    def __post_init__(self):
        for name in ("kp", "ki", "kd", "kff"):
            gain = getattr(self, name)
            if not (math.isfinite(gain) and gain >= 0.0):
                raise ValueError(
                    f"`{name}` is {gain}, and a negative or infinite gain drives entropy away from the target: set 0 "
                    "or more"
                )

    def begin(self, initial: float, low: float, high: float) -> None:
        self._integral = self._control = initial
        self._low, self._high = low, high
        self._offset = 0.0  # what keeps a switch of the prompts bumpless
        self._last_entropy: float | None = None

    def update(self, target: float, entropy: float, slope: float = 0.0, noise: float | None = None) -> float:
        self._offset *= RELEASE
        error = target - entropy
        drop = 0.0 if self._last_entropy is None else self._last_entropy - entropy
        self._last_entropy = entropy
        integral = self._integral + self.ki * error
        control = self.kp * error + integral + self.kd * drop + self.kff * slope + self._offset
        winds_up = (control > self._high and error > 0.0) or (control < self._low and error < 0.0)
        if not winds_up:
            self._integral = min(max(integral, self._low), self._high)
        self._control = min(max(control, self._low), self._high)
        return self._control

    def rebase(self, target: float, entropy: float, noise: float | None = None) -> None:
        self._offset = self._control - self.kp * (target - entropy) - self._integral
        self._last_entropy = entropy

    def state_dict(self) -> dict[str, Any]:
        return {
            "integral": self._integral,
            "control": self._control,
            "offset": self._offset,
            "last_entropy": self._last_entropy,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._integral, self._last_entropy = state["integral"], state["last_entropy"]
        self._offset = state["offset"]
        self._control = min(max(state["control"], self._low), self._high)  # the bounds may have been narrowed
