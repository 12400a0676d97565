"""A base class of the entropy bonuses."""

from collections.abc import Mapping
from typing import Any

from ..control.base import Actuator, ActuatorArgs
from .batch import MicroBatch


class BonusActuator(Actuator):
    """A coefficient times a mean of entropies; a subclass names its setting and defines `mean`."""

    def mean(self, batch: MicroBatch, coefficient: float) -> Any:
        """Return the coefficient times this process's share of the mean, with gradient."""
        raise NotImplementedError

    def check(self, args: ActuatorArgs) -> None:
        if args.entropy_coef != 0.0:
            words = f"got {args.entropy_coef}, because only one of two bonuses would be controlled"
            raise ValueError(f"`entropy_coef` must be 0 with {self.setting}, {words}: set entropy_coef: 0")

    def bonus(self, batch: MicroBatch, settings: Mapping[str, float]) -> Any:
        coefficient = settings[self.setting]
        return 0.0 if coefficient == 0.0 else self.mean(batch, coefficient)
