"""The control loop: schedule, controller and actuators together make one decision per rollout, or one per update."""

import math
import re
from collections.abc import Callable, Sequence
from statistics import fmean
from typing import Any

from .base import Actuator, ActuatorArgs, Controller
from .checks import as_actuators, check_controller, check_per_update
from .dynamics import PlantEstimator
from .geometry import updates_per_rollout
from .handover import ActuatorChain
from .open_loop import PatternController
from .schedules import Schedule, as_schedule, check_schedule, phase_at, progress_at
from .tick import Tick


UNMEASURED = 5  # number of rollouts in a row without a token to measure that ends the run with an error


class EntropyLoop:
    """
    The control loop, which combines any schedule with any controller and any actuator.

    Args:
        schedule (`Schedule` or `Callable[[float], float]`, *optional*):
            Target entropy as a function of progress; `None` for a controller that needs no target.
        controller (`Controller`):
            Object that turns target and entropy into a control.
        actuator (`Actuator` or sequence of `Actuator`):
            Object that turns the control into settings of the trainer. In a sequence, the next actuator takes over when
            the one before it can no longer move entropy.

    Raises:
        ValueError: for parts that lack a method or an attribute, or that cannot work together.
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
                words = f"got {type(controller).__name__}: set it to band_sign or hysteresis"
                raise ValueError(f"the controller of {type(one).__name__} must give a sign, {words}")
        self.chain = ActuatorChain(controller, self.actuators)
        self.anchor: float | None = None
        self._unmeasured = 0
        self._observed = PlantEstimator()  # of a controller that does not learn
        self._updates: int | None = None  # per rollout if the control moves after each; `None` if once per rollout
        self._acted: list[float] = []  # `ActuatorChain.part` of each update of the rollout so far

    def begin(self, args: ActuatorArgs, per_update: bool = False) -> None:
        """
        Start afresh.

        Args:
            args (`ActuatorArgs`):
                The configuration, for example an [`ESGRPOConfig`].
            per_update (`bool`, *optional*, defaults to `False`):
                Whether the control moves after each update, in [`update`], and not once per rollout, in [`tick`].

        Raises:
            ValueError: if an actuator has no authority in the configuration, if the updates per rollout are not a
                whole number, or if the parts cannot decide per update.
        """
        updates = updates_per_rollout(args)
        if updates.denominator != 1:
            raise ValueError(
                f"the updates per rollout must be a whole number, because the control moves once per rollout, got "
                f"{updates}: set steps_per_generation to a multiple of gradient_accumulation_steps "
                f"({args.gradient_accumulation_steps})"
            )
        if per_update:
            check_per_update(self.controller, self.actuators)
        self.chain.begin(args)
        self.anchor, self._unmeasured = None, 0
        self._updates, self._acted = int(updates) if per_update else None, []
        self._observed = PlantEstimator()

    @property
    def settings(self) -> dict[str, float]:
        """The present settings by name; before the first rollout, those of the configuration."""
        return self.chain.settings

    def tick(
        self, rollout: int, num_rollouts: int, entropy: float | None, noise: float | None = None, switched: bool = False
    ) -> Tick:
        """
        Compare the entropy of a rollout with the target, and move the control unless each update does.

        Args:
            rollout (`int`):
                Index of the rollout, from 0.
            num_rollouts (`int`):
                Number of rollouts in the run.
            entropy (`float`, *optional*):
                Entropy of this rollout in nats, under the policy that sampled it. With `None` (nothing was measured)
                the control stays as it is.
            noise (`float`, *optional*):
                Standard error of `entropy` in nats.
            switched (`bool`, *optional*, defaults to `False`):
                Whether prompts or lengths differ from those of the last rollout. Entropy may then have jumped although
                the policy did not change, so [`Controller.rebase`] decides for this rollout.

        Returns:
            `Tick`: the decision for the updates of this rollout.

        Raises:
            ValueError: if the entropy is not finite, or if nothing was measured for 5 rollouts in a row.
        """
        progress = progress_at(rollout, num_rollouts)
        if entropy is None:
            return self._hold(rollout, progress)
        _check_finite(entropy, rollout)
        self._unmeasured = 0
        if self.anchor is None:
            self.anchor = entropy
        target = self._target(progress, entropy)
        slope = self._next_target(rollout, num_rollouts, entropy) - target
        if isinstance(self.controller, PatternController):
            self.controller.advance(progress)
        if self._updates is not None:
            if self._acted and self._observes:
                self._observed.act(fmean(self._acted))
            self._acted = []
        elif switched:
            self.chain.rebase(target, entropy, noise)
        else:
            self.chain.update(target, entropy, slope, noise)
        if self._observes:
            (self._observed.rebase if switched else self._observed.measure)(entropy, noise)
            if self._updates is None:
                self._observed.act(self.chain.part)
        tick = self._tick(progress, target, entropy)
        message = self.chain.hand_over()
        if message is not None:
            tick.events.append({"kind": "hand_over", "message": message})
            self._observed = PlantEstimator()
        return tick

    def update(self, rollout: int, num_rollouts: int, entropy: float | None, switched: bool = False) -> Tick:
        """
        Move the control after an update, for the next one. The target is that of the rollout.

        The arguments are those of [`tick`]; `entropy` is that of the policy before this update. With `switched`
        [`Controller.rebase`] decides at each update of the rollout.

        Raises:
            ValueError: if the entropy is not finite.
        """
        assert self._updates is not None, "the control moves once per rollout"
        progress = progress_at(rollout, num_rollouts)
        if entropy is None:
            return self._tick(progress, self._known_target(progress), None)
        _check_finite(entropy, rollout)
        self._acted.append(self.chain.part)
        target = self._target(progress, entropy)
        if switched:
            self.chain.rebase(target, entropy, None)
        else:
            slope = self._next_target(rollout, num_rollouts, entropy) - target
            self.chain.update(target, entropy, slope / self._updates, None)
        return self._tick(progress, target, entropy)

    def _hold(self, rollout: int, progress: float) -> Tick:
        """Return the decision for a rollout without a measurement, which changes nothing."""
        self._unmeasured += 1
        if self._unmeasured >= UNMEASURED:
            raise ValueError(
                f"no completion token was left to measure in {UNMEASURED} rollouts in a row, up to rollout {rollout}: "
                "raise max_completion_length, or set mask_truncated_completions: false"
            )
        tick = self._tick(progress, self._known_target(progress), None)
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
            estimate=known.estimate if known is not None else self._estimate,
            events=[],
        )

    def _target(self, progress: float, entropy: float) -> float:
        if self.schedule is None:  # without a schedule the error is always 0
            return entropy
        target = self.schedule(progress)
        return target * self.anchor if self.schedule.relative else target

    def _next_target(self, rollout: int, num_rollouts: int, entropy: float) -> float:
        """Return the target of the rollout after this one."""
        return self._target(progress_at(rollout + 1, num_rollouts), entropy)

    def _known_target(self, progress: float) -> float | None:
        """Return the target without a measurement; `None` if it is relative to a first entropy that is not known."""
        known = self.schedule is not None and not (self.schedule.relative and self.anchor is None)
        return self._target(progress, math.nan) if known else None

    def describe(self) -> dict[str, Any]:
        """Return schedule, controller, actuators and bounds as JSON values, for people and figures."""
        return {
            "schedule": "none" if self.schedule is None else _described(self.schedule),
            "controller": _described(self.controller),
            "actuators": [_described(actuator) for actuator in self.actuators],
            "bounds": {type(actuator).__name__: [actuator.low, actuator.high] for actuator in self.actuators},
        }

    @property
    def _estimate(self) -> dict[str, float] | None:
        return self._observed.estimate(self.chain.unit) if self._observed.measured else None

    @property
    def _observes(self) -> bool:
        return self.controller.needs_target and self.controller.knowledge is None

    @property
    def _parts(self) -> list[str]:
        return [type(part).__name__ for part in (self.controller, *self.actuators)]

    def state_dict(self) -> dict[str, Any]:
        """Return the state as JSON values, for a checkpoint."""
        state = {"anchor": self.anchor, "unmeasured": self._unmeasured, "parts": self._parts, "acted": self._acted}
        return {**state, "chain": self.chain.state_dict(), "observed": self._observed.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """
        Restore a saved state; call [`begin`] first.

        Raises:
            ValueError: if another controller or other actuators wrote the state.
        """
        if state["parts"] != self._parts:
            written, own = (f"{one} on {', '.join(rest)}" for one, *rest in (state["parts"], self._parts))
            raise ValueError(
                f"the checkpoint was written with {written} but this run has {own}: resume with the controller and "
                "actuator that wrote it, or start a new run from the checkpoint's weights"
            )
        self.anchor, self._unmeasured, self._acted = state["anchor"], state["unmeasured"], state.get("acted", [])
        self.chain.load_state_dict(state["chain"])
        self._observed.load_state_dict(state["observed"])


def _check_finite(entropy: float, rollout: int) -> None:
    if not math.isfinite(entropy):
        raise ValueError(broken_policy(rollout, f"its entropy is {entropy}"))


def _described(part: Any) -> str:
    """Return the `repr` of a part without its address in memory, which differs from run to run."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(part))


def part_rows(described: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the result of [`EntropyLoop.describe`] as rows of a name and a part, one row per actuator."""
    named = [(name, described[name]) for name in ("method", "schedule", "controller") if name in described]
    return [*named, *(("then" if index else "actuator", part) for index, part in enumerate(described["actuators"]))]


def broken_policy(rollout: int, evidence: str) -> str:
    """Return the error message for a policy whose logits are no longer finite; `evidence` says how it was noticed."""
    return (
        f"the policy is broken at rollout {rollout} ({evidence}): its logits are no longer finite, and no control can "
        "bring it back. The last checkpoint is intact: start a new run from it (set model_name_or_path to it) "
        "with a lower learning_rate or max_grad_norm"
    )
