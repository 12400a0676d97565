"""The open rollout: from the choice of its prompts to its last backward pass."""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import torch
from transformers.utils import logging

from ..control.alarms import announce, new_alarms
from ..control.base import Kept
from ..control.loop import Tick
from ..tracking.history import RolloutRecord
from .callbacks import Decision, EntropyScheduler
from .sensor import EntropyReading, EntropySensor


logger = logging.get_logger(__name__)


@dataclass
class OpenRollout:
    """
    What is known of the rollout under way, and what this process holds of it. [`record`] is what the history has of it.

    Args:
        index (`int`), run (`int`, *optional*), global_step (`int`):
            Index in the run, number of the run in its folder, and updates made before.
        num_generations (`int`), max_completion_length (`int`, *optional*):
            Completions per prompt, and tokens that one may have.
        curriculum_stage (`int`, *optional*):
            Index of the stage of the curriculum.
        seconds_before (`float`):
            Time that it took before the run was resumed.
    """

    index: int
    run: int | None
    global_step: int
    num_generations: int
    max_completion_length: int | None
    curriculum_stage: int | None = None
    seconds_before: float = 0.0

    reward: float | None = None
    completion_tokens: float | None = None
    logp_difference: float | None = None
    sampling: dict[str, float] | None = None  # fields of `SamplingCost`
    reading: EntropyReading | None = None
    is_measured: bool = False  # also where no token was there to measure
    jump: float | None = None
    tick: Tick | None = None
    kept: Kept | None = None
    events: list[dict[str, str]] = field(default_factory=list)
    clip_fractions: list[float] = field(default_factory=list)  # share of clipped tokens, of each micro-batch so far

    sensor: EntropySensor | None = None  # until it is measured
    rows: list[dict[str, Any]] = field(default_factory=list)  # this process's, one per completion
    rewards: torch.Tensor | None = None  # of all processes, (completions, reward functions)
    has_rewards: bool = False  # they were needed, and computed, before TRL asks for them
    uniform: torch.Tensor | None = None  # prompts that dynamic sampling could not replace, (prompts,)
    scoring: tuple[torch.Tensor, torch.Tensor | None] | None = None  # entropies of the old log-probabilities

    def __post_init__(self):
        self._started = time.perf_counter()

    @classmethod
    def resumed(cls, record: RolloutRecord, clip_fractions: list[float], seconds: float) -> "OpenRollout":
        """Take up a rollout as a checkpoint has it: measured, and with all that was decided."""
        known = {name: getattr(record, name) for name in _names(RolloutRecord)}
        measured = known["entropy"] is not None
        own = {name: known[name] for name in _names(cls) & known.keys() - {"kept", "events"}}
        return cls(
            index=record.rollout,
            seconds_before=seconds,
            reading=EntropyReading(record.entropy, record.entropy_se, record.clamped_entropy, record.truncated)
            if measured
            else None,
            is_measured=True,
            tick=None if record.control is None else Tick(**{name: known[name] for name in _names(Tick)}),
            kept=None if record.kept is None else Kept(record.kept),
            events=list(record.events or []),
            clip_fractions=clip_fractions,
            **own,
        )

    def decided(self, decision: Decision) -> None:
        """Take note of what a callback decided."""
        if decision.stage is not None:
            self.curriculum_stage = decision.stage.index
            self.num_generations = decision.stage.num_generations
            self.max_completion_length = decision.stage.max_completion_length
        if decision.jump is not None:
            self.jump = decision.jump
        if decision.tick is not None:
            self.tick = decision.tick
            self.events += decision.tick.events
        self.events += decision.events

    def scored(self, metrics: Mapping[str, list[float]], is_corrected: bool) -> None:
        """Take over what TRL has measured of the completions; `is_corrected` for vLLM's log-probabilities."""
        self.reward, self.completion_tokens = metrics["reward"][-1], metrics["completions/mean_length"][-1]
        if is_corrected:
            self.logp_difference = metrics["sampling/sampling_logp_difference/mean"][-1]

    def trained(self, metrics: Mapping[str, list[float]]) -> None:
        """Take over what TRL has measured of the latest micro-batch."""
        for name in ("clip_ratio/high_mean", "cispo_clip_ratio"):
            if name in metrics:
                self.clip_fractions.append(metrics[name][-1])

    def keep(self, kept: Kept | None) -> None:
        """Take note of the completions whose advantages are used; `None` where none is left out."""
        self.kept = kept
        if kept is not None and kept.message is not None:
            self.events.append({"kind": "guard", "message": kept.message})
            logger.warning("rollout %d: %s", self.index, kept.message)

    def raise_alarms(
        self, records: list[dict[str, Any]], scheduler: EntropyScheduler | None, report_to: list[str]
    ) -> None:
        """Add the alarms that begin with this rollout to its events, and tell them with what the loop decided."""
        if scheduler is None or not scheduler.loop.controller.needs_target:
            return
        alarms = [{"kind": "alarm", "message": text} for text in new_alarms([*records, asdict(self.record())])]
        announce(self.index, [*self.tick.events, *alarms], report_to)
        self.events += alarms

    @property
    def seconds(self) -> float:
        """Time that it has taken."""
        return self.seconds_before + time.perf_counter() - self._started

    def record(self, is_closed: bool = False) -> RolloutRecord:
        """Return the record of the rollout; what is known only when it closes is `None` before."""
        told = {} if self.tick is None else {name: getattr(self.tick, name) for name in _TOLD}
        reading = self.reading
        read = {} if reading is None else {"entropy": reading.mean, "entropy_se": reading.standard_error}
        read |= {} if reading is None else {"clamped_entropy": reading.clamped, "truncated": reading.truncated}
        fractions = self.clip_fractions if is_closed else []
        return RolloutRecord(
            rollout=self.index,
            run=self.run,
            global_step=self.global_step,
            num_generations=self.num_generations,
            max_completion_length=self.max_completion_length,
            curriculum_stage=self.curriculum_stage,
            reward=self.reward,
            completion_tokens=self.completion_tokens,
            logp_difference=self.logp_difference,
            sampling=self.sampling,
            jump=self.jump,
            kept=None if self.kept is None else self.kept.share,
            events=list(self.events) if self.events or self.tick is not None else None,
            clip_high_fraction=sum(fractions) / len(fractions) if fractions else None,
            seconds=self.seconds if is_closed else None,
            **read,
            **told,
        )


def _names(kind: type) -> set[str]:
    return {each.name for each in fields(kind)}


_TOLD = _names(Tick) & _names(RolloutRecord) - {"entropy", "events"}
