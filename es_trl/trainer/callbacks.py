"""The rollout callback with its two events, and the two callbacks of the package: entropy scheduler and curriculum."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState

from ..actuators.adaptive_target import AdaptiveTargetActuator
from ..config.config import ESGRPOConfig
from ..control.base import Actuator, Controller
from ..control.geometry import Geometry, check_one_rollout
from ..control.loop import EntropyLoop
from ..control.schedules import Schedule
from ..control.tick import Tick
from ..control.values import is_number
from ..curriculum.planned import PlannedStage
from ..curriculum.staged_prompts import StagedPrompts
from ..curriculum.stages import Stage, as_stages
from ..tracking.history import RolloutRecord


@dataclass(frozen=True)
class Decision:
    """
    The decision of a callback at a rollout event, which the trainer applies.

    Args:
        stage (`PlannedStage`, *optional*):
            Stage of the rollout, from a curriculum.
        jump (`float`, *optional*):
            Entropy that a switch to this stage added, nats.
        tick (`Tick`, *optional*):
            Decision of the entropy loop, from an entropy scheduler.
        settings (`dict[str, float]`, *optional*, defaults to `{}`):
            Attributes of the trainer to set, by name, for example `{"epsilon_high": 0.3}`. Each must be a `float` of
            the trainer, and its new value a finite number.
        events (`list[dict[str, str]]`, *optional*, defaults to `[]`):
            Events for the history and the log, each with the texts `kind` and `message`.

    Raises:
        ValueError: if `settings` or `events` has another form.
    """

    stage: PlannedStage | None = None
    jump: float | None = None
    tick: Tick | None = None
    settings: dict[str, float] = field(default_factory=dict)
    events: list[dict[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not (isinstance(self.settings, dict) and all(is_number(value) for value in self.settings.values())):
            raise ValueError(
                f"`settings` of a Decision must map names to finite numbers, got {self.settings!r}: set for example "
                '{"epsilon_high": 0.3}'
            )
        texts = isinstance(self.events, list) and all(
            isinstance(event, dict) and isinstance(event.get("kind"), str) and isinstance(event.get("message"), str)
            for event in self.events
        )
        if not texts:
            raise ValueError(
                f"`events` of a Decision must be a list of mappings with the texts `kind` and `message`, got "
                f'{self.events!r}: set for example [{{"kind": "note", "message": "..."}}]'
            )


class RolloutCallback(TrainerCallback):
    """
    A callback with two more events, which [`ESGRPOTrainer`] calls in every rollout and on every process.

    Both events get the `record` of the rollout, as far as it is known, and the `trainer`. An event must not change
    them. It returns a [`Decision`], which the trainer applies.

    A callback that defines `state_dict` keeps a state. The state is saved in every checkpoint, and a resume gives it
    to `load_state_dict`. A callback without a state may be added or removed between a run and its resume.

    Example:

    ```python
    class RaiseClip(RolloutCallback):
        def on_rollout_end(self, args, state, control, record, trainer):
            if record.entropy < 0.1:
                return Decision(settings={"epsilon_high": 0.3})
    ```
    """

    @property
    def keeps_state(self) -> bool:
        """Whether the callback defines `state_dict`, so that a resume needs it."""
        return type(self).state_dict is not RolloutCallback.state_dict

    def prepare(self, args: ESGRPOConfig) -> None:
        """
        Check the configuration and return to the initial state.

        The trainer calls this when it is built and again when a run begins.

        Args:
            args (`ESGRPOConfig`):
                Configuration of the run.

        Raises:
            ValueError: if the callback cannot work with this configuration.
        """

    def on_rollout_begin(
        self, args: ESGRPOConfig, state: TrainerState, control: TrainerControl, record: RolloutRecord, **kwargs: Any
    ) -> Decision | None:
        """
        Decide before the prompts of a rollout are drawn.

        Args:
            args (`ESGRPOConfig`), state (`TrainerState`), control (`TrainerControl`):
                As in the events of `TrainerCallback`.
            record (`RolloutRecord`):
                Record of the rollout, with its index, `global_step`, `num_generations` and `max_completion_length`.
            kwargs:
                Holds `trainer`, the [`ESGRPOTrainer`].

        Returns:
            `Decision` or `None`: the changes to apply, or `None` for no change.
        """

    def on_rollout_end(
        self, args: ESGRPOConfig, state: TrainerState, control: TrainerControl, record: RolloutRecord, **kwargs: Any
    ) -> Decision | None:
        """
        Decide when the rollout is measured, before its first update.

        Args:
            args (`ESGRPOConfig`), state (`TrainerState`), control (`TrainerControl`):
                As in the events of `TrainerCallback`.
            record (`RolloutRecord`):
                Record of the rollout, now with `entropy` (nats), its standard error and `reward`.
            kwargs:
                Holds `trainer`, the [`ESGRPOTrainer`].

        Returns:
            `Decision` or `None`: the changes to apply, or `None` for no change.
        """

    def state_dict(self) -> dict[str, Any]:
        """Return the state, which must consist of JSON values."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a `state` that `state_dict` returned."""


class EntropyScheduler(RolloutCallback):
    """
    Callback that holds the policy's entropy to a schedule.

    After each rollout the controller compares the target with the measured entropy, and the actuator applies the
    control to the updates of the same rollout. With `entropy_sensor: update` it does so after each update, for the next
    one.

    Args:
        schedule (`Schedule` or `Callable[[float], float]`, *optional*):
            Target entropy as a function of the progress in [0, 1], nats. `None` for a controller that needs no target.
        controller (`Controller`):
            For example `SignStepController()` (the paper's Algorithm 1) or `PIDController(kp=1.0, ki=0.05)`.
        actuator (`Actuator` or sequence of `Actuator`):
            For example `EntropyBonusActuator(low=-0.3, high=0.3)`. A sequence is a chain: in
            `[ClipHighActuator(), EntropyBonusActuator()]` the second takes over when the first cannot move entropy.

    Raises:
        ValueError: if schedule, controller and actuator do not fit together.

    Example:

    ```python
    scheduler = EntropyScheduler(StableAnnealSchedule(0.4, 0.05), SignStepController(), ClipHighActuator())
    trainer = ESGRPOTrainer(model, reward_funcs, args, train_dataset=dataset, callbacks=[scheduler])
    ```
    """

    def __init__(
        self,
        schedule: Schedule | Callable[[float], float] | None,
        controller: Controller,
        actuator: Actuator | Sequence[Actuator],
    ):
        self.loop = EntropyLoop(schedule, controller, actuator)

    def prepare(self, args: ESGRPOConfig) -> None:
        """Check the configuration and return the entropy loop to its initial state."""
        if args.use_adaptive_entropy and not isinstance(self.loop.actuators[0], AdaptiveTargetActuator):
            raise ValueError(
                "`use_adaptive_entropy` must be false when another controller moves the entropy, got true: set it to "
                "false, or remove `method`, the `entropy_*` blocks and the EntropyScheduler"
            )
        if self.loop.schedule is not None:
            check_one_rollout(args, "an entropy schedule")
        self.loop.begin(args, per_update=args.entropy_sensor == "update")

    def on_rollout_end(
        self, args: ESGRPOConfig, state: TrainerState, control: TrainerControl, record: RolloutRecord, **kwargs: Any
    ) -> Decision:
        """Return the decision of the entropy loop for the entropy in `record`, the clamped one where it is measured."""
        rollouts = Geometry.of(args, max_steps=state.max_steps).rollouts
        entropy = record.entropy if record.clamped_entropy is None else record.clamped_entropy
        switched = record.jump is not None
        return Decision(tick=self.loop.tick(record.rollout, rollouts, entropy, record.entropy_se, switched))

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the entropy loop as JSON values."""
        return self.loop.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a `state` of the entropy loop that `state_dict` returned."""
        self.loop.load_state_dict(state)


class Curriculum(RolloutCallback):
    """
    Callback that switches datasets, sizes and lengths from stage to stage.

    A run with a curriculum draws its prompts itself, so their order differs from that of TRL's data loader.

    Args:
        stages (sequence of `Stage`, *optional*, defaults to `()`):
            The stages in their order. Without stages, the values of the configuration hold for the whole run.
        prompts (`StagedPrompts`, *optional*):
            The stages of one run with their datasets. The trainer sets it on its own copy of the curriculum.

    Raises:
        ValueError: if `stages` are not a sequence of `Stage`.

    Example:

    ```python
    stages = [Stage("onset", data={"bigmath": 3, "aime": 1}, num_generations=32, max_completion_length=16384)]
    trainer = ESGRPOTrainer(model, reward_funcs, args, train_dataset=datasets, callbacks=[Curriculum(stages)])
    ```
    """

    def __init__(self, stages: Sequence[Stage] = (), prompts: StagedPrompts | None = None):
        self.stages = as_stages(stages)
        self._prompts = prompts

    @property
    def prompts(self) -> StagedPrompts:
        """The stages of the run, with their datasets."""
        if self._prompts is None:
            raise ValueError(
                "this Curriculum has no datasets: give it to the trainer in `callbacks`, and read "
                "`trainer.curriculum.prompts` instead"
            )
        return self._prompts

    def with_prompts(self, prompts: StagedPrompts) -> "Curriculum":
        """Return a copy of this curriculum whose `prompts` are those of one run."""
        own = copy.copy(self)
        own._prompts = prompts
        return own

    def prepare(self, args: ESGRPOConfig) -> None:
        """Return the stages and the order of their prompts to the beginning of the run."""
        self.prompts.restart(args)

    def on_rollout_begin(
        self, args: ESGRPOConfig, state: TrainerState, control: TrainerControl, record: RolloutRecord, **kwargs: Any
    ) -> Decision:
        """Return the stage of the rollout, with an event where a new stage begins."""
        before, stage = self.prompts.begin_rollout(record.rollout), self.prompts.stage
        if before is None:
            return Decision(stage)
        message = f"stage {stage.index} begins: {stage.changes_from(before)}"
        return Decision(stage, events=[{"kind": "switch", "message": message}])

    def on_rollout_end(
        self, args: ESGRPOConfig, state: TrainerState, control: TrainerControl, record: RolloutRecord, **kwargs: Any
    ) -> Decision:
        """Return the entropy that a switch to this stage added, nats."""
        return Decision(jump=self.prompts.jump(record.entropy))

    def state_dict(self) -> dict[str, Any]:
        """Return the position in the stages and their datasets as JSON values."""
        return self.prompts.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a position that `state_dict` returned."""
        self.prompts.load_state_dict(state)
