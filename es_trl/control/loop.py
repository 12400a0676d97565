"""The control loop: schedule, controller and actuators together make one tick per rollout."""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from .base import Actuator, ActuatorArgs, Controller
from .checks import as_actuators, check_controller
from .geometry import updates_per_rollout
from .handover import ActuatorChain
from .schedules import Schedule, as_schedule, check_schedule, phase_at, progress_at


UNMEASURED = 5  # rollouts in a row without a token to measure, after which a scheduled run ends


@dataclass(frozen=True)
class Tick:
    """
    The loop's decision at one rollout.

    Entropies are in nats, and the error is target minus entropy. Phase, target and error are `None` without a schedule,
    entropy and error where nothing was measured.
    """

    stage: str | None  # phase of the schedule, "stable" or "anneal"
    target: float | None
    entropy: float | None
    error: float | None
    control: float
    settings: dict[str, float]  # of all actuators
    saturated: bool
    actuator: str  # class of the one that the control moved
    estimate: dict[str, float] | None
    events: list[dict[str, str]]  # `kind` and `message`; a hand-over has effect from the next rollout


class EntropyLoop:
    """
    Any schedule with any controller and any actuator.

    Args:
        schedule (`Schedule` or `Callable[[float], float]`, *optional*):
            Target entropy over progress; `None` for a controller that needs no target.
        controller (`Controller`):
            Turns target and entropy into a control.
        actuator (`Actuator` or sequence of `Actuator`):
            Turns the control into settings of the trainer; of several, the next takes over where one cannot.
    """

    def __init__(
        self,
        schedule: Schedule | Callable[[float], float] | None,
        controller: Controller,
        actuator: Actuator | Sequence[Actuator],
    ) -> None:
        check_controller(controller)
        self.schedule = None if schedule is None and not controller.needs_target else as_schedule(schedule)
        if self.schedule is not None:
            check_schedule(self.schedule)
        self.controller, self.actuators = controller, as_actuators(actuator)
        for one in self.actuators:
            if getattr(one, "needs_sign", False) and not controller.gives_sign:
                words = f"got {type(controller).__name__}: set it to band_sign (BandSignController)"
                raise ValueError(f"the controller of {type(one).__name__} must give a sign, {words}")
        self.chain = ActuatorChain(controller, self.actuators)
        self.anchor: float | None = None
        self._unmeasured = 0

    def begin(self, args: ActuatorArgs) -> None:
        """Start afresh under the configuration `args`; raise where an actuator has no authority in it."""
        updates = updates_per_rollout(args)
        if updates.denominator != 1:
            raise ValueError(
                f"the updates per rollout must be a whole number, which is the control period, got {updates}: set "
                f"steps_per_generation to a multiple of gradient_accumulation_steps, {args.gradient_accumulation_steps}"
            )
        self.chain.begin(args)
        self.anchor, self._unmeasured = None, 0

    @property
    def settings(self) -> dict[str, float]:
        """The present settings, before the first tick those of the configuration."""
        return self.chain.settings

    def tick(
        self, rollout: int, num_rollouts: int, entropy: float | None, noise: float | None = None, switched: bool = False
    ) -> Tick:
        """
        Compare the entropy of a rollout with the target, and move the control.

        Args:
            rollout (`int`), num_rollouts (`int`):
                Index of the rollout, from 0, and rollouts in the run.
            entropy (`float`, *optional*), noise (`float`, *optional*):
                Entropy of this rollout under the policy that sampled it, and its standard error, nats. The control
                stays as it is where nothing was measured.
            switched (`bool`):
                Whether the prompts or their lengths differ from those of the last rollout, so that entropy may have
                jumped although the policy did not change. The control then stays for this rollout.

        Raises:
            ValueError: for an entropy that is not finite, or was not measured for [`UNMEASURED`] rollouts in a row.
        """
        progress = progress_at(rollout, num_rollouts)
        if entropy is None:
            return self._hold(rollout, progress)
        if not math.isfinite(entropy):
            raise ValueError(broken_policy(rollout, f"its entropy is {entropy}"))
        self._unmeasured = 0
        if self.anchor is None:
            self.anchor = entropy
        target = self._target(progress, entropy)
        slope = self._target(progress_at(rollout + 1, num_rollouts), entropy) - target
        if switched:
            self.chain.rebase(target, entropy, noise)
        else:
            self.chain.update(target, entropy, slope, noise)
        tick = self._tick(progress, target, entropy)
        message = self.chain.hand_over()
        if message is not None:
            tick.events.append({"kind": "hand_over", "message": message})
        return tick

    def _hold(self, rollout: int, progress: float) -> Tick:
        """Return the tick of a rollout without a measurement: everything stays as it is."""
        self._unmeasured += 1
        if self._unmeasured >= UNMEASURED:
            raise ValueError(
                f"no completion token was left to measure in {UNMEASURED} rollouts in a row, up to rollout {rollout}: "
                "raise max_completion_length, or set mask_truncated_completions: false"
            )
        known = self.schedule is not None and not (self.schedule.relative and self.anchor is None)
        tick = self._tick(progress, self._target(progress, math.nan) if known else None, None)
        message = "every completion was truncated and masked, so entropy was not measured and the control stays"
        tick.events.append({"kind": "unmeasured", "message": message})
        return tick

    def _tick(self, progress: float, target: float | None, entropy: float | None) -> Tick:
        chain, schedule, known = self.chain, self.schedule, self.controller.knowledge
        target = None if schedule is None else target
        return Tick(
            stage=None if schedule is None else phase_at(schedule, progress),
            target=target,
            entropy=entropy,
            error=None if target is None or entropy is None else target - entropy,
            control=chain.control,
            settings=chain.settings,
            saturated=chain.saturated,
            actuator=type(chain.actuator).__name__,
            estimate=None if known is None else known.estimate,
            events=[],
        )

    def _target(self, progress: float, entropy: float) -> float:
        if self.schedule is None:  # any entropy is on target
            return entropy
        target = self.schedule(progress)
        return target * self.anchor if self.schedule.relative else target

    def describe(self) -> dict[str, Any]:
        """Return the loop for people and figures, as JSON values."""
        return {
            "schedule": "none" if self.schedule is None else _described(self.schedule),
            "controller": _described(self.controller),
            "actuators": [_described(actuator) for actuator in self.actuators],
            "bounds": {type(actuator).__name__: [actuator.low, actuator.high] for actuator in self.actuators},
        }

    @property
    def _parts(self) -> list[str]:
        return [type(part).__name__ for part in (self.controller, *self.actuators)]

    def state_dict(self) -> dict[str, Any]:
        """Return the state as JSON values; schedules and actuators have none."""
        state = {"anchor": self.anchor, "unmeasured": self._unmeasured, "parts": self._parts}
        return {**state, "chain": self.chain.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a saved state; called after [`begin`]."""
        if state["parts"] != self._parts:
            written, own = (f"{one} on {', '.join(rest)}" for one, *rest in (state["parts"], self._parts))
            raise ValueError(
                f"the checkpoint was written by {written} and this run controls with {own}: resume with the controller "
                "and actuator that wrote it, or start a new run from the checkpoint's weights"
            )
        self.anchor, self._unmeasured = state["anchor"], state["unmeasured"]
        self.chain.load_state_dict(state["chain"])


def _described(part: Any) -> str:
    """Return the text of a part, without its place in memory, which differs from run to run."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(part))


def part_rows(described: dict[str, Any]) -> list[tuple[str, str]]:
    """Return what [`EntropyLoop.describe`] returned as rows of a name and a part, one row per actuator."""
    named = [(name, described[name]) for name in ("method", "schedule", "controller") if name in described]
    return [*named, *(("then" if index else "actuator", part) for index, part in enumerate(described["actuators"]))]


def broken_policy(rollout: int, evidence: str) -> str:
    """Return the message for a run whose policy is no longer finite at `rollout`, as `evidence` shows."""
    return (
        f"the policy is broken at rollout {rollout} ({evidence}): its logits are no longer finite, and no control can "
        "bring it back. Resume from the last checkpoint, which is intact, with a lower learning_rate or max_grad_norm"
    )
