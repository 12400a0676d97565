"""A chain of actuators: one acts, the next takes over where it cannot, and control returns when it can."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from .actuators import Actuator, ActuatorArgs
from .controllers import Controller


PATIENCE = 5  # rollouts in a row that a hand-over takes: long enough that noise alone does not cause one
_ARGUMENTS = {"epsilon_low": "epsilon", "epsilon_high": "epsilon_high", "beta": "beta"}  # attribute to configuration


@dataclass
class Link:
    """
    An actuator that acts or waits for its turn to come back.

    Args:
        entry (`float`):
            The control that it took over with, which left everything as it was.
        changes (`dict[str, float]`):
            Configuration fields that actuators before it had moved when it took over.
        side (`int`):
            1 where it was left at its upper bound, -1 at its lower one, 0 where it acts or does not act on entropy.
        control (`float`):
            Its latest control.
    """

    entry: float
    changes: dict[str, float]
    side: int
    control: float


class ActuatorChain:
    """
    Lets one controller act through the first actuator that can move entropy.

    An actuator hands over to the next one where for [`PATIENCE`] rollouts in a row it was at a bound and entropy still
    on the wrong side of the target, or at a bound without an effect that its controller can tell from none. It stays
    at its control. The next one takes over bumplessly, from the control that leaves the trainer as it is. Control
    returns to an actuator that acts as soon as the one after it pushes the other way for as many rollouts.

    Args:
        controller (`Controller`):
            Serves whichever actuator acts.
        actuators (sequence of `Actuator`):
            In the order of preference, at least one.
    """

    def __init__(self, controller: Controller, actuators: Sequence[Actuator]):
        if not actuators:
            raise ValueError("the chain of actuators is empty, so nothing can be moved: name at least one")
        names = [_name(actuator) for actuator in actuators]
        if len(set(names)) < len(names):
            raise ValueError(f"the chain of actuators is {', '.join(names)}, and one is there twice: name each once")
        self.controller = controller
        self.actuators = list(actuators)

    def begin(self, args: ActuatorArgs) -> None:
        """Start afresh under the configuration `args`, or raise `ValueError` where an actuator has no authority."""
        for actuator in self.actuators:
            actuator.check(args)
        self._args = args
        self._links: list[Link] = []
        self._stuck = self._eased = 0
        self.settings: dict[str, float] = {}
        self._enter()

    @property
    def actuator(self) -> Actuator:
        """The one that acts."""
        return self.actuators[len(self._links) - 1]

    @property
    def control(self) -> float:
        """The control of the one that acts."""
        return self._links[-1].control

    @property
    def saturated(self) -> bool:
        """Whether that control is at a bound."""
        return self.control in (self.actuator.low, self.actuator.high)

    def update(self, target: float, entropy: float, slope: float, noise: float | None) -> None:
        """Move the control of the actuator that acts; the arguments are those of [`Controller.update`]."""
        link = self._links[-1]
        link.control = self.controller.update(target, entropy, slope, noise)
        self._apply(link)
        side = (link.control == self.actuator.high) - (link.control == self.actuator.low)
        falls_short = side * (target - entropy) > 0.0
        self._stuck = self._stuck + 1 if side and (falls_short or not self._has_authority) else 0
        waiting = self._links[-2].side if len(self._links) > 1 else 0
        self._eased = self._eased + 1 if waiting * (link.control - link.entry) < 0.0 else 0

    def hand_over(self) -> str | None:
        """Give the control to another actuator from the next rollout on where it is due; says so, or `None`."""
        link, before = self._links[-1], _name(self.actuator)
        if self._stuck >= PATIENCE and len(self._links) < len(self.actuators):
            acts = self._has_authority
            reason = "is at its bound" if acts else "does not move entropy"
            link.side = (1 if link.control == self.actuator.high else -1) if acts else 0
            self._enter()
            return f"{before} {reason} ({link.control:.3g}): {_name(self.actuator)} takes over"
        if self._eased >= PATIENCE:
            link.control = link.entry
            self._apply(link)
            self._links.pop()
            back = self._links[-1]
            back.side = 0
            self._start(back, self.controller.take_over)
            return f"{before} is not needed any more: control returns to {_name(self.actuator)}"
        return None

    @property
    def _has_authority(self) -> bool:
        return self.controller.has_authority

    def _enter(self) -> None:
        changes = {_ARGUMENTS[name]: value for name, value in self.settings.items() if name in _ARGUMENTS}
        link = Link(0.0, changes, 0, 0.0)
        self._links.append(link)
        initial = self.actuator.initial(self._view(link))
        link.entry = link.control = min(max(initial, self.actuator.low), self.actuator.high)
        self._start(link, self.controller.take_over if len(self._links) > 1 else self.controller.begin)
        self._apply(link)

    def _start(self, link: Link, start: Callable[[float, float, float], None]) -> None:
        self._stuck = self._eased = 0
        start(link.control, self.actuator.low, self.actuator.high)

    def _apply(self, link: Link) -> None:
        self.settings = {**self.settings, **self.actuator.settings(link.control, self._view(link))}

    def _view(self, link: Link) -> ActuatorArgs:
        """The configuration as the actuator finds it: with what actuators before it have moved."""
        fields = {name: getattr(self._args, name) for name in ActuatorArgs.__annotations__}
        return SimpleNamespace(**{**fields, **link.changes})

    def state_dict(self) -> dict[str, Any]:
        """The state as JSON values."""
        return {
            "links": [vars(link) for link in self._links],
            "stuck": self._stuck,
            "eased": self._eased,
            "settings": self.settings,
            "controller": self.controller.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a saved state; called after [`begin`]."""
        self._links = [Link(**link) for link in state["links"]]
        self._start(self._links[-1], self.controller.begin)
        self._stuck, self._eased, self.settings = state["stuck"], state["eased"], state["settings"]
        self.controller.load_state_dict(state["controller"])


def _name(actuator: Actuator) -> str:
    return type(actuator).__name__
