"""Two rollout events on top of `TrainerCallback`; the entropy scheduler and the curriculum are such callbacks."""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TypeVar

from accelerate import Accelerator
from datasets import Dataset
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from ..actuators.adaptive_target import AdaptiveTargetActuator
from ..config.config import ESGRPOConfig
from ..control.alarms import announce, new_alarms
from ..control.base import Actuator, Controller
from ..control.checks import checked_state
from ..control.geometry import Geometry, check_one_rollout
from ..control.loop import EntropyLoop
from ..control.schedules import Schedule, onset_rollout
from ..curriculum.datasets import check_stages
from ..curriculum.prompt_order import PromptOrder
from ..curriculum.stages import PlannedStage, Stage, as_stages, plan_stages, stage_of
from ..tracking.history import RolloutRecord


if TYPE_CHECKING:
    from .trainer import ESGRPOTrainer

_Callback = TypeVar("_Callback", bound=TrainerCallback)


class RolloutCallback(TrainerCallback):
    """
    A callback with the two events of a rollout; [`ESGRPOTrainer`] calls them on every process.

    What `state_dict` returns is saved in every checkpoint and given back to `load_state_dict` on resume. One that does
    not define it, as it only looks on, may come and go between the two.
    """

    @property
    def keeps_state(self) -> bool:
        """Whether a run can be resumed only with it."""
        return type(self).state_dict is not RolloutCallback.state_dict

    def prepare(self, args: TrainingArguments) -> None:
        """When the trainer is built, before weights load, and when a run starts afresh: refuse what cannot work."""

    def on_rollout_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        record: RolloutRecord,
        trainer: "ESGRPOTrainer",
    ) -> None:
        """Before the prompts of a rollout are answered; `record` has its index, `global_step` and sizes."""

    def on_rollout_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        record: RolloutRecord,
        trainer: "ESGRPOTrainer",
    ) -> None:
        """After `record.entropy` and `record.reward` are known, before the first update that uses the rollout."""

    def state_dict(self) -> dict[str, Any]:
        """The state as JSON values."""
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

    def prepare(self, args: TrainingArguments) -> None:
        if args.use_adaptive_entropy and not isinstance(self.loop.chain.actuators[0], AdaptiveTargetActuator):
            raise ValueError(
                "use_adaptive_entropy together with another control of entropy: two controllers would fight over one "
                "entropy. Set use_adaptive_entropy: false, or remove method, the entropy_* blocks and EntropyScheduler"
            )
        if self.loop.schedule is not None:
            check_one_rollout(args, "an entropy schedule")
        self.loop.begin(args)

    def on_rollout_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        record: RolloutRecord,
        trainer: "ESGRPOTrainer",
    ) -> None:
        switched = record.jump is not None
        entropy = record.entropy if record.clamped_entropy is None else record.clamped_entropy
        tick = self.loop.tick(record.rollout, trainer.num_rollouts, entropy, record.entropy_se, switched)
        earlier = record.events or []
        for field, value in vars(tick).items():
            if field != "entropy":
                setattr(record, field, value)
        trainer.apply_settings(tick.settings)
        found = tick.events
        # only the main process has the whole history after a resume
        if state.is_world_process_zero and self.loop.controller.needs_target:
            records = [*trainer.history.records, asdict(record)]
            found = [*found, *({"kind": "alarm", "message": text} for text in new_alarms(records))]
            announce(record.rollout, found, args.report_to)
        record.events = [*earlier, *found]

    def state_dict(self) -> dict[str, Any]:
        return self.loop.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.loop.load_state_dict(state)


class Curriculum(RolloutCallback):
    """
    Switches data, sizes and lengths from stage to stage, in the rollouts that the plan names.

    With a curriculum the order of prompts is the run's own and not the data loader's: a function of the seed and of the
    prompts drawn before, which is saved with the run.

    Args:
        stages (sequence of `Stage`):
            In their order. Without any, the configuration's own values hold for the whole run.

    Example:

    ```python
    stages = [Stage("onset", data={"bigmath": 3, "aime": 1}, num_generations=32, max_completion_length=16384)]
    trainer = ESGRPOTrainer(model, reward_funcs, args, train_dataset=datasets, callbacks=[Curriculum(stages)])
    ```
    """

    def __init__(self, stages: Sequence[Stage] = ()):
        self.stages = as_stages(stages)
        self.schedule: Schedule | None = None
        self.datasets: dict[str, Dataset | None] = {}  # `None` in a plan that cannot see it

    def prepare(self, args: TrainingArguments) -> None:
        if not self.datasets:
            raise ValueError(
                "a Curriculum has no data sets, because it came to the trainer after it was built: give it in "
                "`callbacks`"
            )
        if self.stages:
            check_one_rollout(args, "a curriculum")
        rollouts = Geometry.of(args).rollouts
        onset = None if self.schedule is None or rollouts is None else onset_rollout(self.schedule, rollouts)
        self.planned = plan_stages(self.stages, args, rollouts, onset, self.datasets)
        check_stages(self.planned, self.datasets)
        sizes = {name: 0 if dataset is None else len(dataset) for name, dataset in self.datasets.items()}
        self._order = PromptOrder(sizes, args.seed, args.shuffle_dataset)
        self.stage: PlannedStage | None = None
        self._awaits_jump = False  # a stage has begun, and no entropy was measured in it yet
        self._last_entropy: float | None = None

    def on_rollout_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        record: RolloutRecord,
        trainer: "ESGRPOTrainer",
    ) -> None:
        before, stage = self.stage, stage_of(self.planned, record.rollout)
        switches = before is not None and stage is not before
        self._awaits_jump = self._awaits_jump or switches
        if stage is not before:
            self.stage = stage
            self._order.enter(stage.data)
            trainer.apply_stage(stage)
        self._order.begin_rollout()
        record.curriculum_stage = stage.index
        record.num_generations, record.max_completion_length = stage.num_generations, stage.max_completion_length
        if switches:
            message = f"stage {stage.index} begins: {stage.changes_from(before)}"
            record.events = [{"kind": "switch", "message": message}]
            trainer.accelerator.print(f"rollout {record.rollout}: {message}", flush=True)

    def on_rollout_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        record: RolloutRecord,
        trainer: "ESGRPOTrainer",
    ) -> None:
        if record.entropy is None:
            return
        if self._awaits_jump and self._last_entropy is not None:
            record.jump = record.entropy - self._last_entropy
        self._awaits_jump, self._last_entropy = False, record.entropy

    def draw(self, prompts: int, num_generations: int, accelerator: Accelerator) -> list[dict[str, Any]]:
        """This process's rows of the next prompts, one a completion."""
        drawn = [place for place in self._order.draw(prompts) for _ in range(num_generations)]
        size = len(drawn) // accelerator.num_processes
        first = accelerator.process_index * size
        return [dict(self.datasets[name][row]) for name, row in drawn[first : first + size]]

    def state_dict(self) -> dict[str, Any]:
        assert self.stage is not None, "a checkpoint comes after an update, and so after a rollout has begun"
        return {
            "stage": asdict(self.stage),
            "order": self._order.state_dict(),
            "awaits_jump": self._awaits_jump,
            "last_entropy": self._last_entropy,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        saved = state["stage"]
        if saved not in [asdict(stage) for stage in self.planned]:
            raise ValueError(
                f"the checkpoint is in stage {saved['index']}, from rollout {saved['first']} on, of {saved['prompts']} "
                f"prompts x {saved['num_generations']} completions, and this run has no such stage: resume with the "
                "curriculum and max_steps that wrote it, or start a new run with the checkpoint as the model"
            )
        self.stage = self.planned[saved["index"]]
        self._order.enter(self.stage.data)
        self._order.load_state_dict(state["order"])
        self._awaits_jump, self._last_entropy = state["awaits_jump"], state["last_entropy"]


def find(callbacks: Sequence[TrainerCallback], kind: type[_Callback]) -> _Callback | None:
    """The first callback of a kind, or `None`."""
    return next((callback for callback in callbacks if isinstance(callback, kind)), None)


def collect_callbacks(args: TrainingArguments, given: list[TrainerCallback]) -> list[TrainerCallback]:
    """The user's callbacks and those that the blocks of the configuration name; the curriculum first."""
    if isinstance(given, TrainerCallback) or EntropyScheduler in given:
        raise ValueError(
            "`callbacks` must be a list of objects: give for example [EntropyScheduler(ConstantSchedule(0.4), "
            "PIDController(), EntropyBonusActuator())]"
        )
    callbacks = [callback() if isinstance(callback, type) else callback for callback in given]
    if isinstance(args, ESGRPOConfig):
        if args.method is not None and find(callbacks, EntropyScheduler) is not None:
            raise ValueError(
                f"method {args.method} together with an EntropyScheduler in `callbacks`: the run would not be what the "
                "method's name says. Keep one of them"
            )
        parts, stages = args.build_parts(), args.build_stages()
        if parts is not None:
            callbacks.insert(0, EntropyScheduler(*parts))
        if stages is not None or (args.dynamic_sampling_tries > 0 and find(callbacks, Curriculum) is None):
            callbacks.append(Curriculum(stages or []))
    # what the others see is its stage's
    return sorted(callbacks, key=lambda callback: not isinstance(callback, Curriculum))


def prepare_callbacks(callbacks: Sequence[TrainerCallback], args: TrainingArguments) -> None:
    """Let those that are rollout callbacks refuse what cannot work."""
    callbacks = [callback for callback in callbacks if isinstance(callback, RolloutCallback)]
    for kind, block in ((EntropyScheduler, "entropy_*"), (Curriculum, "curriculum")):
        if sum(isinstance(callback, kind) for callback in callbacks) > 1:
            raise ValueError(
                f"there are two of {kind.__name__}, which would set the same attributes one after the other: keep "
                f"either the {block} blocks of the configuration or one {kind.__name__} in `callbacks`"
            )
    scheduler, curriculum = find(callbacks, EntropyScheduler), find(callbacks, Curriculum)
    if scheduler is not None and curriculum is not None:
        curriculum.schedule = scheduler.loop.schedule
    for callback in callbacks:
        callback.prepare(args)
        if callback.keeps_state and not isinstance(callback, EntropyScheduler | Curriculum):
            with contextlib.suppress(AttributeError):  # a state that only a rollout makes is looked at when it is saved
                checked_state(callback)
