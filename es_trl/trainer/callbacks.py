"""Two rollout events on top of `TrainerCallback`; the entropy scheduler and the curriculum are such callbacks."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState

from ..actuators.adaptive_target import AdaptiveTargetActuator
from ..config.config import ESGRPOConfig
from ..control.base import Actuator, Controller
from ..control.geometry import Geometry, check_one_rollout
from ..control.loop import EntropyLoop, Tick
from ..control.schedules import Schedule
from ..control.values import is_number
from ..curriculum.planned import PlannedStage
from ..curriculum.staged_prompts import StagedPrompts
from ..curriculum.stages import Stage, as_stages
from ..tracking.history import RolloutRecord


@dataclass(frozen=True)
class Decision:
    """What a callback decides at a rollout event. The trainer applies it."""

    stage: PlannedStage | None = None  # stage of the rollout
    jump: float | None = None  # entropy added by a switch of stages, nats
    tick: Tick | None = None  # decision of the control loop
    settings: dict[str, float] = field(default_factory=dict)  # more attributes of the trainer, with finite numbers
    events: list[dict[str, str]] = field(default_factory=list)  # for the history, each with `kind` and `message`

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
    A callback with the two events of a rollout; [`ESGRPOTrainer`] calls them on every process.

    Both events get the record of the rollout as far as it is known, and the `trainer`, to look at. What is to change is
    returned. What `state_dict` returns is saved in every checkpoint and given back to `load_state_dict` on resume. A
    callback that does not define it may come and go between the two.
    """

    @property
    def keeps_state(self) -> bool:
        """Whether a run can be resumed only with this callback."""
        return type(self).state_dict is not RolloutCallback.state_dict

    def prepare(self, args: ESGRPOConfig) -> None:
        """Refuse what cannot work, and start afresh: when the trainer is built, and when a run starts."""

    def on_rollout_begin(
        self, args: ESGRPOConfig, state: TrainerState, control: TrainerControl, record: RolloutRecord, **kwargs: Any
    ) -> Decision | None:
        """Decide before the prompts of a rollout are drawn; `record` has its index, `global_step` and sizes."""

    def on_rollout_end(
        self, args: ESGRPOConfig, state: TrainerState, control: TrainerControl, record: RolloutRecord, **kwargs: Any
    ) -> Decision | None:
        """Decide when `record.entropy` and `record.reward` are known, before the first update of the rollout."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state as JSON values."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a saved state."""


class EntropyScheduler(RolloutCallback):
    """
    Holds the policy's entropy to a schedule.

    Args:
        schedule (`Schedule` or `Callable[[float], float]`, *optional*):
            Target entropy over the progress of the run, nats; `None` for a controller that needs no target.
        controller (`Controller`):
            For example `SignStepController()` (the paper's Algorithm 1) or `PIDController(kp=1.0, ki=0.05)`.
        actuator (`Actuator` or sequence of `Actuator`):
            For example `EntropyBonusActuator(low=-0.3, high=0.3)`, or `[ClipHighActuator(), EntropyBonusActuator()]`,
            of which the second takes over where the first cannot move entropy.

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
        if args.use_adaptive_entropy and not isinstance(self.loop.actuators[0], AdaptiveTargetActuator):
            raise ValueError(
                "`use_adaptive_entropy` must be false with another control of entropy, got true: two controllers would "
                "fight over one entropy. Set it to false, or remove method, the entropy_* blocks and EntropyScheduler"
            )
        if self.loop.schedule is not None:
            check_one_rollout(args, "an entropy schedule")
        self.loop.begin(args)

    def on_rollout_end(
        self, args: ESGRPOConfig, state: TrainerState, control: TrainerControl, record: RolloutRecord, **kwargs: Any
    ) -> Decision:
        rollouts = Geometry.of(args, max_steps=state.max_steps).rollouts
        entropy = record.entropy if record.clamped_entropy is None else record.clamped_entropy
        switched = record.jump is not None
        return Decision(tick=self.loop.tick(record.rollout, rollouts, entropy, record.entropy_se, switched))

    def state_dict(self) -> dict[str, Any]:
        return self.loop.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.loop.load_state_dict(state)


class Curriculum(RolloutCallback):
    """
    Switches data, sizes and lengths from stage to stage, in the rollouts that the plan names.

    With a curriculum the order of prompts is the run's own and not the data loader's.

    Args:
        stages (sequence of `Stage`):
            The stages in their order. Without any, the configuration's own values hold for the whole run.
        prompts (`StagedPrompts`, *optional*):
            The stages of a particular run; the trainer makes a curriculum with them from the one that it is given.

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
        """The stages of the run, with their data sets."""
        if self._prompts is None:
            raise ValueError(
                "this Curriculum has no data sets: give it in `callbacks`; those of a run are at trainer.curriculum"
            )
        return self._prompts

    def with_prompts(self, prompts: StagedPrompts) -> "Curriculum":
        """Return a copy of this curriculum with the stages of a particular run."""
        own = copy.copy(self)
        own._prompts = prompts
        return own

    def prepare(self, args: ESGRPOConfig) -> None:
        self.prompts.restart(args)

    def on_rollout_begin(
        self, args: ESGRPOConfig, state: TrainerState, control: TrainerControl, record: RolloutRecord, **kwargs: Any
    ) -> Decision:
        before, stage = self.prompts.begin_rollout(record.rollout), self.prompts.stage
        if before is None:
            return Decision(stage)
        message = f"stage {stage.index} begins: {stage.changes_from(before)}"
        return Decision(stage, events=[{"kind": "switch", "message": message}])

    def on_rollout_end(
        self, args: ESGRPOConfig, state: TrainerState, control: TrainerControl, record: RolloutRecord, **kwargs: Any
    ) -> Decision:
        return Decision(jump=self.prompts.jump(record.entropy))

    def state_dict(self) -> dict[str, Any]:
        return self.prompts.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.prompts.load_state_dict(state)
