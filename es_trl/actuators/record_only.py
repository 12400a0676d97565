"""An actuator that moves nothing."""

from dataclasses import dataclass

from ..control.base import Actuator, ActuatorArgs


@dataclass(frozen=True)
class RecordOnlyActuator(Actuator):
    """
    An actuator without settings.

    With [`HoldController`] and a schedule, it gives a run without control whose history still has target and error.
    """

    low: float = -1.0
    high: float = 1.0

    def settings(self, control: float, args: ActuatorArgs) -> dict[str, float]:
        """Return no settings."""
        return {}
