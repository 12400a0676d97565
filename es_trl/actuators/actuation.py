"""The actuators of a run and their present settings, as one object for the loss."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import torch

from ..control.base import Actuator, ActuatorArgs, Kept
from .batch import MicroBatch, Scores


@dataclass(frozen=True)
class Actuation:
    """The actuators of a run in the order of the chain, with their present settings; the loss applies them as one."""

    actuators: tuple[Actuator, ...] = ()
    settings: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def clamp(self) -> float:
        """The share of the vocabulary that the controlled entropy leaves out: the largest one of all actuators."""
        return max((actuator.clamp for actuator in self.actuators), default=0.0)

    @property
    def needs_scores(self) -> bool:
        """Whether an actuator defines `columns`, for which the scores of all processes must be gathered."""
        return any(type(actuator).columns is not Actuator.columns for actuator in self.actuators)

    def columns(self, scores: Scores, args: ActuatorArgs) -> dict[str, torch.Tensor]:
        """Return the columns of all actuators, each with one row per completion of all processes."""
        return {name: rows for actuator in self.actuators for name, rows in actuator.columns(scores, args).items()}

    def kept(self, batch: MicroBatch) -> Kept | None:
        """Return the share of completions that is trained on, from the first actuator that leaves some out."""
        found = (actuator.kept(batch, self.settings) for actuator in self.actuators)
        return next((kept for kept in found if kept is not None), None)

    def clip(self, batch: MicroBatch) -> tuple[Any, Any]:
        """Return the clip that TRL is to read, changed by one actuator after the other; numbers or tensors."""
        for actuator in self.actuators:
            batch = replace(batch, clip=actuator.clip(batch, self.settings))
        return batch.clip

    def advantages(self, batch: MicroBatch) -> torch.Tensor:
        """Return the advantages to train on, changed by one actuator after the other."""
        for actuator in self.actuators:
            advantages = actuator.advantages(batch, self.settings)
            batch = replace(batch, inputs={**batch.inputs, "advantages": advantages})
        return batch.inputs["advantages"]

    def bonus(self, batch: MicroBatch) -> Any:
        """Return the sum of the bonuses of all actuators, a scalar tensor with gradient or 0."""
        return sum(actuator.bonus(batch, self.settings) for actuator in self.actuators)
