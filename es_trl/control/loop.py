"""The control loop: schedule, controller and actuator make one tick a rollout. Knows neither torch nor TRL."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from .base import Actuator, ActuatorArgs, Controller
from .geometry import updates_per_rollout
from .handover import ActuatorChain
from .own_parts import as_actuators, check_controller
from .schedules import Schedule, as_schedule, check_schedule, progress_at, stage_at


UNMEASURED = 5  # rollouts in a row without a token to measure, after which a scheduled run ends


@dataclass(frozen=True)
class Tick:
    """
    What the loop decided at one rollout.

    Args:
        stage (`str`, *optional*):
            `"stable"` or `"anneal"`; `None` without a schedule, as target and error.
        target (`float`, *optional*), entropy (`float`, *optional*), error (`float`, *optional*):
            Scheduled and measured entropy and their difference, target minus entropy, nats. Entropy and error are
            `None` where nothing was measured.
        control (`float`):
            The controller's output, in the unit of the actuator.
        settings (`dict[str, float]`):
            Trainer attribute to value.
        saturated (`bool`):
            Whether the control is at one of its bounds.
        actuator (`str`):
            Class of the actuator that the control moved.
        estimate (`dict[str, float]`, *optional*):
            What a controller that estimates the plant believes of it, and the gains that follow.
        events (`list[dict[str, str]]`):
            Hand-overs from one actuator to another, with effect from the next rollout, and rollouts that could not be
            measured: `kind` and `message`.
    """

    stage: str | None
    target: float | None
    entropy: float | None
    error: float | None
    control: float
    settings: dict[str, float]
    saturated: bool
    actuator: str
    estimate: dict[str, float] | None
    events: list[dict[str, str]]


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
    ):
        check_controller(controller)
        self.schedule = None if schedule is None and not controller.needs_target else as_schedule(schedule)
        self.chain = ActuatorChain(controller, as_actuators(actuator))

    @property
    def controller(self) -> Controller:
        """The controller."""
        return self.chain.controller

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
        for actuator in self.chain.actuators:
            if getattr(actuator, "needs_sign", False) and not self.controller.gives_sign:
                raise ValueError(
                    f"{type(actuator).__name__} goes by the sign of its control alone, which of "
                    f"{type(self.controller).__name__} says nothing of the present error: set the controller to "
                    "band_sign (BandSignController)"
                )
        if self.schedule is not None:
            check_schedule(self.schedule)
        self.anchor: float | None = None
        self._unmeasured = 0
        self.chain.begin(args)

    @property
    def settings(self) -> dict[str, float]:
        """The settings that the trainer has now, before the first tick those of its configuration."""
        return self.chain.settings

    def tick(
        self,
        rollout: int,
        num_rollouts: int,
        entropy: float | None,
        noise: float | None = None,
        switched: bool = False,
    ) -> Tick:
        """
        One rollout: compare its entropy with the target, move the control.

        Args:
            rollout (`int`), num_rollouts (`int`):
                Index of the rollout, from 0, and rollouts in the run.
            entropy (`float`, *optional*):
                Entropy of this rollout under the policy that sampled it, nats; `None` where nothing was measured. The
                control then stays as it is.
            noise (`float`, *optional*):
                Its standard error, nats; `None` where it is not known.
            switched (`bool`):
                Whether the prompts or their lengths are others than a rollout ago, so that entropy may have jumped with
                the policy as it was. The control then stays for this rollout, and goes on from the new entropy.

        Raises:
            ValueError: where the entropy is not a number, or was not measured for [`UNMEASURED`] rollouts in a row.
        """
        progress = progress_at(rollout, num_rollouts)
        stage = None if self.schedule is None else stage_at(self.schedule, progress)
        if entropy is None:
            return self._hold(rollout, progress, stage)
        if not math.isfinite(entropy):
            raise ValueError(broken_policy(rollout, f"its entropy is {entropy}"))
        self._unmeasured = 0
        if self.anchor is None:
            self.anchor = entropy
        target = self._target(progress, entropy)
        slope = self._target(progress_at(rollout + 1, num_rollouts), entropy) - target
        chain = self.chain
        if switched:
            chain.rebase(target, entropy, noise)
        else:
            chain.update(target, entropy, slope, noise)
        tick = Tick(
            stage=stage,
            target=None if self.schedule is None else target,
            entropy=entropy,
            error=None if self.schedule is None else target - entropy,
            control=chain.control,
            settings=chain.settings,
            saturated=chain.saturated,
            actuator=type(chain.actuator).__name__,
            estimate=self.controller.estimate,
            events=[],
        )
        message = chain.hand_over()
        if message is not None:
            tick.events.append({"kind": "hand_over", "message": message})
        return tick

    def _hold(self, rollout: int, progress: float, stage: str | None) -> Tick:
        """The tick of a rollout of which nothing was measured: everything stays as it is."""
        self._unmeasured += 1
        if self._unmeasured >= UNMEASURED:
            raise ValueError(
                f"no completion token was left to measure in {UNMEASURED} rollouts in a row, the last of them rollout "
                f"{rollout}, because every completion was truncated and masked: raise max_completion_length, or set "
                "mask_truncated_completions: false"
            )
        message = "every completion was truncated and masked, so entropy was not measured and the control stays"
        known = self.schedule is not None and not (self.schedule.relative and self.anchor is None)
        return Tick(
            stage=stage,
            target=self._target(progress, math.nan) if known else None,
            entropy=None,
            error=None,
            control=self.chain.control,
            settings=self.chain.settings,
            saturated=self.chain.saturated,
            actuator=type(self.chain.actuator).__name__,
            estimate=None if self.anchor is None else self.controller.estimate,
            events=[{"kind": "unmeasured", "message": message}],
        )

    def _target(self, progress: float, entropy: float) -> float:
        if self.schedule is None:  # whatever entropy is, is right
            return entropy
        target = self.schedule(progress)
        return target * self.anchor if self.schedule.relative else target

    def describe(self) -> dict[str, Any]:
        """The loop for people and figures, as JSON values."""
        return {
            "schedule": "none" if self.schedule is None else repr(self.schedule),
            "controller": repr(self.controller),
            "actuators": [repr(actuator) for actuator in self.chain.actuators],
            "bounds": {type(a).__name__: [a.low, a.high] for a in self.chain.actuators},
        }

    @property
    def _parts(self) -> list[str]:
        return [type(part).__name__ for part in (self.controller, *self.chain.actuators)]

    def state_dict(self) -> dict[str, Any]:
        """The state as JSON values; schedules and actuators have none."""
        return {
            "anchor": self.anchor,
            "unmeasured": self._unmeasured,
            "parts": self._parts,
            "chain": self.chain.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a saved state; called after [`begin`]."""
        if state["parts"] != self._parts:
            raise ValueError(
                f"the checkpoint was written by {_on(state['parts'])} and this run controls with "
                f"{_on(self._parts)}: resume with the controller and actuator that wrote it, or start a new "
                "run from the checkpoint's weights"
            )
        self.anchor, self._unmeasured = state["anchor"], state["unmeasured"]
        self.chain.load_state_dict(state["chain"])


def part_rows(described: dict[str, Any]) -> list[tuple[str, str]]:
    """What [`EntropyLoop.describe`] returned as rows of a name and a part, an actuator a row."""
    names = ["actuator", *["then"] * (len(described["actuators"]) - 1)]
    actuators = zip(names, described["actuators"], strict=True)
    named = [(name, described[name]) for name in ("method", "schedule", "controller") if name in described]
    return [*named, *actuators]


def _on(parts: list[str]) -> str:
    return f"{parts[0]} on {', '.join(parts[1:])}"


def broken_policy(rollout: int, evidence: str) -> str:
    """The message for a run whose policy is no longer finite at `rollout`, as `evidence` shows."""
    return (
        f"the policy is broken at rollout {rollout} ({evidence}): its logits are no longer finite, and no control can "
        "bring it back. Resume from the last checkpoint, which is intact, with a lower learning_rate or max_grad_norm"
    )
