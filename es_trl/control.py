"""The control loop: schedule, controller and actuator make one tick a rollout. Knows neither torch nor TRL."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .actuators import Actuator, ActuatorArgs
from .controllers import Controller
from .geometry import updates_per_rollout
from .schedules import Schedule, as_schedule, progress_at, stage_at


@dataclass(frozen=True)
class Tick:
    """
    What the loop decided at one rollout.

    Args:
        stage (`str`):
            `"stable"` or `"anneal"`.
        target (`float`), entropy (`float`), error (`float`):
            Scheduled and measured entropy and their difference, target minus entropy, nats.
        control (`float`):
            The controller's output, in the unit of the actuator.
        settings (`dict[str, float]`):
            Trainer attribute to value.
        saturated (`bool`):
            Whether the control is at one of its bounds.
    """

    stage: str
    target: float
    entropy: float
    error: float
    control: float
    settings: dict[str, float]
    saturated: bool


class EntropyLoop:
    """
    Any schedule with any controller and any actuator.

    Args:
        schedule (`Schedule` or `Callable[[float], float]`):
            Target entropy over progress.
        controller (`Controller`):
            Turns target and entropy into a control.
        actuator (`Actuator`):
            Turns the control into settings of the trainer.
    """

    def __init__(self, schedule: Schedule | Callable[[float], float], controller: Controller, actuator: Actuator):
        self.schedule = as_schedule(schedule)
        self.controller = controller
        self.actuator = actuator

    def begin(self, args: ActuatorArgs) -> None:
        """
        Start afresh under the configuration `args`.

        Raises:
            ValueError: where the actuator has no authority in it, or the control period is not the rollout.
        """
        updates = updates_per_rollout(args)
        if updates.denominator != 1:
            raise ValueError(
                f"there are {updates} updates in a rollout, and the control period is one rollout: set "
                "steps_per_generation to a multiple of gradient_accumulation_steps "
                f"({args.gradient_accumulation_steps})"
            )
        self.actuator.check(args)
        for hundredth in range(101):
            self.schedule(hundredth / 100)  # a function that cannot be a target is refused before the run
        self._args = args
        self.anchor: float | None = None
        self.controller.begin(self.actuator.initial(args), self.actuator.low, self.actuator.high)

    def initial_settings(self) -> dict[str, float]:
        """The settings that the trainer has before the first tick."""
        return self.actuator.settings(self.actuator.initial(self._args), self._args)

    def tick(self, rollout: int, num_rollouts: int, entropy: float | None) -> Tick:
        """
        One rollout: compare its entropy with the target, move the control.

        Args:
            rollout (`int`), num_rollouts (`int`):
                Index of the rollout, from 0, and rollouts in the run.
            entropy (`float`, *optional*):
                Entropy of this rollout under the policy that sampled it, nats; `None` where nothing was measured.

        Raises:
            ValueError: where the entropy is not a number.
        """
        if entropy is None:
            raise ValueError(
                f"no completion token of rollout {rollout} is left to measure, because every completion was truncated "
                "and masked: raise max_completion_length, or set mask_truncated_completions: false"
            )
        if not math.isfinite(entropy):
            raise ValueError(broken_policy(rollout, f"its entropy is {entropy}"))
        if self.anchor is None:
            self.anchor = entropy
        progress = progress_at(rollout, num_rollouts)
        target = self._target(progress)
        slope = self._target(progress_at(rollout + 1, num_rollouts)) - target
        control = self.controller.update(target, entropy, slope)
        return Tick(
            stage=stage_at(self.schedule, progress),
            target=target,
            entropy=entropy,
            error=target - entropy,
            control=control,
            settings=self.actuator.settings(control, self._args),
            saturated=control in (self.actuator.low, self.actuator.high),
        )

    def _target(self, progress: float) -> float:
        target = self.schedule(progress)
        return target * self.anchor if self.schedule.relative else target

    def describe(self) -> dict[str, Any]:
        """The loop for people and figures, as JSON values."""
        return {
            "schedule": repr(self.schedule),
            "controller": repr(self.controller),
            "actuator": repr(self.actuator),
            "low": self.actuator.low,
            "high": self.actuator.high,
        }

    @property
    def _parts(self) -> list[str]:
        return [type(self.controller).__name__, type(self.actuator).__name__]

    def state_dict(self) -> dict[str, Any]:
        """The state as JSON values; schedules and actuators have none."""
        return {
            "anchor": self.anchor,
            "parts": self._parts,
            "state": self.controller.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a saved state; called after [`begin`]."""
        if state["parts"] != self._parts:
            raise ValueError(
                f"the checkpoint was written by {' on '.join(state['parts'])} and this run controls with "
                f"{' on '.join(self._parts)}: resume with the controller and actuator that wrote it, or start a new "
                "run from the checkpoint's weights"
            )
        self.anchor = state["anchor"]
        self.controller.load_state_dict(state["state"])


def broken_policy(rollout: int, evidence: str) -> str:
    """The message for a run whose policy is no longer finite at `rollout`, as `evidence` shows."""
    return (
        f"the policy is broken at rollout {rollout} ({evidence}): its logits are no longer finite, and no control can "
        "bring it back. Resume from the last checkpoint, which is intact, with a lower learning_rate or max_grad_norm"
    )
