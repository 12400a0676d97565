"""The base class of the entropy bonuses."""

from collections.abc import Mapping
from typing import Any

from ..control.base import Actuator, ActuatorArgs
from .batch import MicroBatch


class BonusActuator(Actuator):
    """
    An actuator that adds a coefficient times a mean of entropies to the objective.

    The coefficient is the control. A subclass names its `setting` and defines `mean`.
    """

    def mean(self, batch: MicroBatch, coefficient: float) -> Any:
        """Return `coefficient` times this micro-batch's and process's share of the mean, a scalar with gradient."""
        raise NotImplementedError

    def check(self, args: ActuatorArgs) -> None:
        """Raise `ValueError` unless TRL's own `entropy_coef` is 0."""
        if args.entropy_coef != 0.0:
            words = f"got {args.entropy_coef}, because only one of two bonuses would be controlled"
            raise ValueError(f"`entropy_coef` must be 0 with {self.setting}, {words}: set entropy_coef: 0")

    def bonus(self, batch: MicroBatch, settings: Mapping[str, float]) -> Any:
        """Return the coefficient times the mean, or 0 for a coefficient of 0."""
        coefficient = settings[self.setting]
        return 0.0 if coefficient == 0.0 else self.mean(batch, coefficient)
