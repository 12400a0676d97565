"""An actuator that moves nothing."""

from dataclasses import dataclass

from ..control.base import Actuator, ActuatorArgs


@dataclass(frozen=True)
class RecordOnlyActuator(Actuator):
    """Moves nothing: with [`HoldController`], a run without control whose history has target and error, too."""

    low: float = -1.0
    high: float = 1.0

    def settings(self, control: float, args: ActuatorArgs) -> dict[str, float]:
        return {}
