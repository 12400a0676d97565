"""The batch geometry: how the prompts of a rollout become completions, micro-batches and updates.

TRL counts batch sizes in completions, and `steps_per_generation` in micro-batches.
"""

import dataclasses
import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Protocol

from rich.table import Table

from ..common.tables import as_text


class GeometryArgs(Protocol):
    """The fields of `GRPOConfig` that decide the geometry."""

    per_device_train_batch_size: int
    gradient_accumulation_steps: int
    steps_per_generation: int
    num_iterations: int
    num_generations: int
    max_completion_length: int | None
    max_steps: int
    world_size: int


def updates_per_rollout(args: GeometryArgs) -> Fraction:
    """Return the number of updates per rollout; it is below 1 if one update spans several rollouts."""
    return Fraction(args.steps_per_generation * args.num_iterations, args.gradient_accumulation_steps)


def check_one_rollout(args: GeometryArgs, what: str) -> None:
    """Raise `ValueError` if the run is shorter than one rollout; `what` names the feature that needs a rollout."""
    updates = updates_per_rollout(args)
    if 0 < args.max_steps < updates:
        words = f"got {args.max_steps}: set {10 * updates} for 10 rollouts, because {what} moves once per rollout"
        raise ValueError(f"`max_steps` must be at least the {updates} updates of one rollout, {words}")


def check_trains(args: Any) -> None:
    """Raise `ValueError` if a run with the configuration `args` (`TrainingArguments`) would make no update."""
    if args.max_steps <= 0 and args.num_train_epochs <= 0:
        words = f"got {args.max_steps} and {args.num_train_epochs}: set one of them, or call evaluate() instead"
        raise ValueError(f"`max_steps` or `num_train_epochs` must be above 0, {words}")


@dataclass(frozen=True)
class Geometry:
    """The sizes of one rollout of a run, over all processes."""

    num_processes: int
    prompts: int  # per rollout
    num_generations: int  # completions per prompt
    completions: int  # per rollout
    micro_batch: int  # completions per micro-batch of one process
    micro_batches: int  # per rollout and process
    updates: Fraction  # per rollout
    max_completion_length: int | None  # in tokens; `None` if the generation's own limit holds
    max_steps: int  # updates in the run; 0 or less if the number is not known yet

    @classmethod
    def of(cls, args: GeometryArgs, max_steps: int | None = None) -> "Geometry":
        """
        Return the geometry of a configuration.

        Args:
            args (`GeometryArgs`):
                The configuration, for example an [`ESGRPOConfig`].
            max_steps (`int`, *optional*):
                Updates in the run, for a configuration that gives epochs. If unset, the configuration's `max_steps`.
        """
        completions = args.per_device_train_batch_size * args.world_size * args.steps_per_generation
        return cls(
            num_processes=args.world_size,
            prompts=completions // args.num_generations,
            num_generations=args.num_generations,
            completions=completions,
            micro_batch=args.per_device_train_batch_size,
            micro_batches=args.steps_per_generation * args.num_iterations,
            updates=updates_per_rollout(args),
            max_completion_length=args.max_completion_length,
            max_steps=args.max_steps if max_steps is None else max_steps,
        )

    def with_prompts(self, num_prompts: int, num_train_epochs: float) -> "Geometry":
        """Return the geometry with `max_steps`; if it is unset, it follows from the dataset's size and the epochs."""
        if self.max_steps > 0:
            return self
        updates_per_epoch = math.ceil(num_prompts // self.prompts * self.updates)
        return dataclasses.replace(self, max_steps=math.ceil(num_train_epochs * updates_per_epoch))

    @property
    def rollouts(self) -> int | None:
        """The number of rollouts in the run, or `None` if its length is not known yet."""
        return math.ceil(self.max_steps / self.updates) if self.max_steps > 0 else None

    def table(self) -> str:
        """Return the geometry as text for people, one line per number."""
        rows = [
            ("processes", self.num_processes),
            ("prompts per rollout", self.prompts),
            ("completions per prompt (num_generations)", self.num_generations),
            ("completions per rollout", self.completions),
            ("longest completion, tokens", self.max_completion_length or "set by the generation"),
            ("micro-batch, completions per process", self.micro_batch),
            ("micro-batches per update", Fraction(self.micro_batches) / self.updates),
            ("updates per rollout", self.updates),
            ("updates in the run", self.max_steps if self.max_steps > 0 else "set by the dataset"),
            ("rollouts in the run", self.rollouts or "set by the dataset"),
        ]
        table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
        for name, value in rows:
            table.add_row(name, str(value))
        return as_text(table)
