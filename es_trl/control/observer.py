"""The measurement of an actuator's effect under a controller that does not learn."""

from typing import Any

from .dynamics import PlantEstimator


class PlantObserver:
    """
    A [`PlantEstimator`] that listens to a run.

    Published rules assume that more control means more entropy. The observer finds out whether that is so, and an alarm
    says if it is not (`alarms.py`).
    """

    def __init__(self) -> None:
        self._plant = PlantEstimator()

    def begin(self) -> None:
        """Start afresh, with nothing learned."""
        self._plant = PlantEstimator()

    def update(self, entropy: float, noise: float | None, part: float, switched: bool) -> None:
        """
        Take in a rollout.

        Args:
            entropy (`float`):
                Measured entropy in nats.
            noise (`float`, *optional*):
                Standard error of `entropy` in nats, or `None` if it is not known.
            part (`float`):
                Control of this rollout, counted from its start in units of half its range.
            switched (`bool`):
                Whether prompts or lengths differ from those of the last rollout.
        """
        (self._plant.rebase if switched else self._plant.measure)(entropy, noise)
        self._plant.act(part)

    def estimate(self, unit: float) -> dict[str, float] | None:
        """Return the learned numbers by name, with half the range of the control as `unit`; `None` before the first."""
        return self._plant.estimate(unit) if self._plant.measured else None

    def state_dict(self) -> dict[str, Any]:
        """Return the state as JSON values."""
        return self._plant.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a saved state."""
        self._plant.load_state_dict(state)
