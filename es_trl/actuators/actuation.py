"""The actuators of a run with their present settings, as one object for the loss."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import torch

from ..control.base import Actuator, ActuatorArgs, Kept
from .batch import MicroBatch, Scores


@dataclass(frozen=True)
class Actuation:
    """The actuators of a run, in the order of the chain, at their present settings; applied as if they were one."""

    actuators: tuple[Actuator, ...] = ()
    settings: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def clamp(self) -> float:
        """Share of the vocabulary that is left out of the entropy which the loop holds, the largest of all."""
        return max((actuator.clamp for actuator in self.actuators), default=0.0)

    @property
    def needs_scores(self) -> bool:
        """Whether an actuator makes columns of the scores of all processes, which are gathered for it."""
        return any(type(actuator).columns is not Actuator.columns for actuator in self.actuators)

    def columns(self, scores: Scores, args: ActuatorArgs) -> dict[str, torch.Tensor]:
        """Return the columns of all actuators, each with one row per completion of all processes."""
        return {name: rows for actuator in self.actuators for name, rows in actuator.columns(scores, args).items()}

    def kept(self, batch: MicroBatch) -> Kept | None:
        """Return how many completions are used, of the first actuator that leaves some out."""
        found = (actuator.kept(batch, self.settings) for actuator in self.actuators)
        return next((kept for kept in found if kept is not None), None)

    def advantages(self, batch: MicroBatch) -> torch.Tensor:
        """Return the advantages to train on, after each actuator in turn."""
        for actuator in self.actuators:
            advantages = actuator.advantages(batch, self.settings)
            batch = replace(batch, inputs={**batch.inputs, "advantages": advantages})
        return batch.inputs["advantages"]

    def bonus(self, batch: MicroBatch) -> Any:
        """Return the sum of the bonuses, a tensor with gradient or 0."""
        return sum(actuator.bonus(batch, self.settings) for actuator in self.actuators)
