"""What looks at no entropy: a controller that holds a setting, and one that hands the target to TRL's own loop."""

from dataclasses import dataclass
from typing import Any

from .actuators import ActuatorArgs, check_bounds, check_initial
from .controllers import Controller


@dataclass
class HoldController(Controller):
    """
    Leaves the control where it began: an actuator at its published setting, for comparison with the loop closed.

    With a schedule the history still has target and error, which nothing is done about.
    """

    needs_target = False

    def begin(self, initial: float, low: float, high: float) -> None:
        self._control = initial

    def update(self, target: float, entropy: float, slope: float = 0.0, noise: float | None = None) -> float:
        return self._control

    def rebase(self, target: float, entropy: float, noise: float | None = None) -> None:
        """There is nothing to forget."""

    def state_dict(self) -> dict[str, Any]:
        return {"control": self._control}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._control = state["control"]


@dataclass(frozen=True)
class RecordOnlyActuator:
    """Moves nothing: with [`HoldController`], a run without control whose history has target and error, too."""

    low: float = -1.0
    high: float = 1.0

    def initial(self, args: ActuatorArgs) -> float:
        return 0.0

    def settings(self, control: float, args: ActuatorArgs) -> dict[str, float]:
        return {}

    def check(self, args: ActuatorArgs) -> None:
        """It has no authority, and is not meant to have any."""


@dataclass
class FollowController(HoldController):
    """The target is the control, for an actuator that closes a loop of its own (`adaptive_target`)."""

    needs_target = True

    def begin(self, initial: float, low: float, high: float) -> None:
        self._control, self._low, self._high = initial, low, high

    def update(self, target: float, entropy: float, slope: float = 0.0, noise: float | None = None) -> float:
        self._control = min(max(target, self._low), self._high)
        return self._control


@dataclass(frozen=True)
class AdaptiveTargetActuator:
    """
    The target of TRL's own adaptive entropy coefficient (Skywork-OR1, arXiv 2505.22312), its `entropy_target`.

    TRL steps the coefficient after every update; what moves here is only what it aims at.

    Args:
        low (`float`), high (`float`):
            Bounds of the target, from 0 nats.
    """

    low: float = 0.0
    high: float = 2.0

    def __post_init__(self):
        check_bounds(self)

    def initial(self, args: ActuatorArgs) -> float:
        return args.entropy_target

    def settings(self, control: float, args: ActuatorArgs) -> dict[str, float]:
        return {"entropy_target": control}

    def check(self, args: ActuatorArgs) -> None:
        if not args.use_adaptive_entropy:
            raise ValueError(
                "adaptive_target moves the target of TRL's adaptive entropy coefficient, which is off: set "
                "use_adaptive_entropy: true, or method: skywork"
            )
        check_initial(self, "entropy_target", args)
