"""Two rollout events on top of `TrainerCallback`, and the entropy scheduler, which is such a callback."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from .actuators import Actuator
from .alarms import announce, new_alarms
from .control import EntropyLoop
from .controllers import Controller
from .history import RolloutRecord
from .schedules import Schedule


if TYPE_CHECKING:
    from .trainer import ESGRPOTrainer


class RolloutCallback(TrainerCallback):
    """
    A callback with the two events of a rollout; [`ESGRPOTrainer`] calls them on every process.

    What `state_dict` returns is saved in every checkpoint and given back to `load_state_dict` on resume.
    """

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
        schedule (`Schedule` or `Callable[[float], float]`):
            Target entropy over the progress of the run, nats.
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
        schedule: Schedule | Callable[[float], float],
        controller: Controller,
        actuator: Actuator | Sequence[Actuator],
    ):
        self.loop = EntropyLoop(schedule, controller, actuator)

    def prepare(self, args: TrainingArguments) -> None:
        if args.use_adaptive_entropy:
            raise ValueError(
                "use_adaptive_entropy together with an entropy schedule: two controllers would fight over one "
                "entropy. Set use_adaptive_entropy: false, or remove the entropy_* blocks and EntropyScheduler"
            )
        self.loop.begin(args)

    def on_rollout_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        record: RolloutRecord,
        trainer: "ESGRPOTrainer",
    ) -> None:
        tick = self.loop.tick(record.rollout, trainer.num_rollouts, record.entropy, record.entropy_se)
        for field, value in vars(tick).items():
            setattr(record, field, value)
        trainer.apply_settings(tick.settings)
        if state.is_world_process_zero:  # only this process has the whole history after a resume
            records = [*trainer.history.records, asdict(record)]
            record.events = [*tick.events, *({"kind": "alarm", "message": text} for text in new_alarms(records))]
            announce(record.rollout, record.events, args.report_to)

    def state_dict(self) -> dict[str, Any]:
        return self.loop.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.loop.load_state_dict(state)


def prepare_callbacks(callbacks: list[RolloutCallback], args: TrainingArguments) -> None:
    """Let the rollout callbacks refuse what cannot work."""
    if sum(isinstance(callback, EntropyScheduler) for callback in callbacks) > 1:
        raise ValueError(
            "two entropy schedulers would set the same attributes one after the other: keep either the entropy_* "
            "blocks of the configuration or one EntropyScheduler in `callbacks`"
        )
    for callback in callbacks:
        callback.prepare(args)
