"""The open rollout, from the choice of its prompts to its last backward pass."""

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import torch
from accelerate import Accelerator

from ..control.alarms import AlarmRecords, new_alarms, send_alerts
from ..control.base import Kept
from ..control.tick import Tick
from ..micro_batches.plan import Plan
from ..tracking.console import Console
from ..tracking.history import RolloutRecord
from .callbacks import Decision, EntropyScheduler
from .sensor import EntropyReading, EntropySensor


@dataclass
class OpenRollout:
    """
    The rollout in progress: the values for its record, and the tensors of this process.

    Fields that [`RolloutRecord`] has too mean the same here. `seconds_before` is the time that the rollout took before
    a resume of the run.
    """

    rollout: int
    run: int | None
    global_step: int
    num_generations: int
    max_completion_length: int | None
    curriculum_stage: int | None = None
    seconds_before: float = 0.0

    reward: float | None = None
    uniform_rewards: float | None = None
    completion_tokens: float | None = None
    truncated_completions: float | None = None
    logp_difference: float | None = None
    sampling: dict[str, float] | None = None
    early_exit: dict[str, float] | None = None
    reading: EntropyReading | None = None
    is_measured: bool = False  # true even if the rollout has no token to measure
    jump: float | None = None
    tick: Tick | None = None
    kept: Kept | None = None
    events: list[dict[str, str]] = field(default_factory=list)
    update_entropies: list[float | None] | None = None
    update_controls: list[float] | None = None
    clip_fractions: list[float] = field(default_factory=list)  # share of clipped tokens in each micro-batch so far

    sensor: EntropySensor | None = None
    rows: list[dict[str, Any]] = field(default_factory=list)  # rows of this process, one per completion
    rewards: torch.Tensor | None = None  # rewards on all processes, (completions, reward functions)
    lengths: list[tuple[int, bool]] = field(default_factory=list)  # of own completions: tokens, and whether cut
    masked: torch.Tensor | None = None  # marks prompts that are left out of the loss, (prompts,)
    old_entropies: tuple[torch.Tensor, torch.Tensor | None] | None = None  # entropies and clamped entropies
    plan: Plan | None = None  # of the micro-batches
    order: torch.Tensor | None = None  # in which TRL's micro-batches take the rows of this process

    def __post_init__(self) -> None:
        self._started = time.perf_counter()

    @classmethod
    def resumed(cls, record: RolloutRecord, clip_fractions: list[float], seconds: float) -> "OpenRollout":
        """Return the open rollout of a checkpoint, which is measured and has its decisions."""
        known = vars(record)
        return cls(
            **_picked(known, _ROLLOUT_FIELDS),
            seconds_before=seconds,
            reading=None if record.entropy is None else EntropyReading(**_picked(known, _READING_FIELDS)),
            is_measured=True,
            tick=None if record.control is None else Tick(**_picked(known, _TICK_FIELDS | {"events"})),
            kept=None if record.kept is None else Kept(record.kept),
            events=list(record.events or []),
            clip_fractions=clip_fractions,
        )

    def draw(self, rows: list[dict[str, Any]], prompts: int) -> None:
        """Keep the rows of this process; the rollout has `prompts` prompts over all processes."""
        self.rows, self.sensor = rows, EntropySensor(prompts)

    def refill(
        self,
        rewards: torch.Tensor,
        masked: torch.Tensor,
        sampling: dict[str, float],
        early_exit: dict[str, float] | None,
    ) -> None:
        """Keep the result of dynamic sampling: the rewards, the prompts to leave out of the loss, and the costs."""
        self.rewards, self.masked, self.sampling, self.early_exit = rewards, masked, sampling, early_exit

    def generated(self, lengths: list[tuple[int, bool]]) -> None:
        """Keep the tokens of each completion of this process, and whether it was cut at the limit."""
        self.lengths = lengths

    def reward_with(self, rewards: torch.Tensor) -> None:
        """Keep the rewards of all processes."""
        self.rewards = rewards

    def see(self, entropies: torch.Tensor, clamped: torch.Tensor | None) -> None:
        """Keep the entropies of the first forward pass without gradient, which computes the old log-probabilities."""
        if not self.is_measured and self.old_entropies is None:
            self.old_entropies = (entropies, clamped)

    def plan_with(self, plan: Plan, order: torch.Tensor) -> None:
        """Keep the plan of the micro-batches, and the order in which TRL's take the rows of this process."""
        self.plan, self.order = plan, order

    def read(self, accelerator: Accelerator) -> None:
        """Read the sensor, after which the rollout is measured."""
        self.reading, self.is_measured, self.old_entropies = self.sensor.read(accelerator), True, None

    def tell(self, events: list[dict[str, str]]) -> None:
        """Add events for the history."""
        self.events += events

    def decided(self, decision: Decision) -> None:
        """Keep the decision of a callback for the record."""
        if decision.stage is not None:
            self.curriculum_stage = decision.stage.index
            self.num_generations = decision.stage.num_generations
            self.max_completion_length = decision.stage.max_completion_length
        if decision.jump is not None:
            self.jump = decision.jump
        if decision.tick is not None:
            self.tick = decision.tick
            self.tell(decision.tick.events)
        self.tell(decision.events)

    def scored(self, metrics: Mapping[str, list[float]], is_corrected: bool) -> None:
        """Keep TRL's metrics of the completions; `is_corrected` says whether vLLM's log-probabilities are corrected."""
        self.reward = metrics["reward"][-1]
        # TRL counts a prompt without any reward as one with different rewards
        nothing = self.rewards.isnan().all(dim=1).view(-1, self.num_generations).all(dim=1)
        self.uniform_rewards = metrics["frac_reward_zero_std"][-1] + nothing.float().mean().item()
        self.completion_tokens = metrics["completions/mean_length"][-1]
        self.truncated_completions = metrics["completions/clipped_ratio"][-1]
        if is_corrected:
            self.logp_difference = metrics["sampling/sampling_logp_difference/mean"][-1]

    def trained(self, metrics: Mapping[str, list[float]]) -> None:
        """Keep TRL's clip fractions of the latest micro-batch."""
        for name in ("clip_ratio/high_mean", "cispo_clip_ratio"):
            if name in metrics:
                self.clip_fractions.append(metrics[name][-1])

    def updated(self, entropy: float | None, tick: Tick | None) -> None:
        """Keep the entropy at an update, and the control of the decision after it; `None` without a loop."""
        self.update_entropies = [*(self.update_entropies or ()), entropy]
        if tick is not None:
            self.update_controls = [*(self.update_controls or ()), tick.control]

    def keep(self, kept: Kept | None) -> None:
        """Record the share of completions whose advantages are used; `None` if all of them are used."""
        self.kept = kept
        if kept is not None and kept.message is not None:
            self.tell([{"kind": "guard", "message": kept.message}])

    def add_alarms(self, before: AlarmRecords, scheduler: EntropyScheduler | None, report_to: list[str]) -> None:
        """Add the alarms that begin in this rollout to its events, and send them to the trackers that have alerts."""
        is_controlled = scheduler is not None and scheduler.loop.controller.needs_target
        records = [*before.of_stage(self.curriculum_stage), asdict(self.record())]
        alarms = [{"kind": "alarm", "message": text} for text in new_alarms(records, is_controlled)]
        send_alerts(self.rollout, alarms, report_to)
        self.tell(alarms)

    def say(self, console: Console) -> None:
        """Say the events that were not said yet."""
        console.events(self.rollout, self.events)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Leave the time of the block out of `seconds`; blocks may be nested."""
        before = self.seconds
        try:
            yield
        finally:
            self.seconds_before -= self.seconds - before

    @property
    def seconds(self) -> float:
        """Time that the rollout has taken, seconds."""
        return self.seconds_before + time.perf_counter() - self._started

    def record(self, is_closed: bool = False) -> RolloutRecord:
        """Return the record of the rollout; fields that are known only at its close are `None` before."""
        own = _picked(vars(self), _ROLLOUT_FIELDS)
        told = {} if self.tick is None else _picked(asdict(self.tick), _TICK_FIELDS)
        fractions = self.clip_fractions if is_closed else []
        return RolloutRecord(
            **{**own, **told, **({} if self.reading is None else vars(self.reading))},
            kept=None if self.kept is None else self.kept.share,
            events=[dict(event) for event in self.events] if self.events or self.tick is not None else None,
            clip_high_fraction=sum(fractions) / len(fractions) if fractions else None,
            seconds=self.seconds if is_closed else None,
        )


def _picked(values: Mapping[str, Any], names: set[str]) -> dict[str, Any]:
    return {name: values[name] for name in names}


def _shared(kind: type) -> set[str]:
    """Return the names of the fields that `kind` shares with the record, without `kept` and `events`, which differ."""
    return {each.name for each in fields(kind)} & {each.name for each in fields(RolloutRecord)} - {"kept", "events"}


_ROLLOUT_FIELDS, _READING_FIELDS, _TICK_FIELDS = _shared(OpenRollout), _shared(EntropyReading), _shared(Tick)
