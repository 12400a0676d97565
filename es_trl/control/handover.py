"""A chain of actuators: one acts, the next takes over where it cannot, and control returns when it can."""

import contextlib
import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .base import Actuator, ActuatorArgs, Controller
from .checks import check_initial, checked_control, checked_settings, checked_state


PATIENCE = 5  # rollouts in a row that a hand-over takes, and a dead time: so long that noise alone causes none


@dataclass
class Link:
    """An actuator that acts or waits for control to come back."""

    entry: float  # the control that it took over with, which left everything as it was
    epsilon_high: float | None  # the upper clip at that rollout
    control: float
    # entropy that was missing when it handed over: 1 more, -1 less, 0 where control is not to come back
    side: int = 0
    strength: float | None = None  # that of the controller's knowledge when it handed over


class ActuatorChain:
    """
    Lets one controller act through the first actuator that can move entropy.

    An actuator hands over to the next one where for [`PATIENCE`] rollouts in a row it was at the same bound with
    entropy on the same side of the target, or at a bound without an effect that its controller could tell from none. It
    stays at its control. The next one takes over bumplessly, from the control that leaves the trainer as it is. Control
    returns as soon as the one after it pushes the other way for as many rollouts, and no harder than the one that waits
    could. Before [`begin`] no setting is applied, and the control is the one nearest to 0 within the bounds.
    """

    def __init__(self, controller: Controller, actuators: Sequence[Actuator]) -> None:
        if not actuators:
            raise ValueError("the chain of actuators must have at least one, got none: name one")
        names = [_name(actuator) for actuator in actuators]
        if len(set(names)) < len(names):
            raise ValueError(f"the chain of actuators must have each once, got {', '.join(names)}: name each once")
        alone = [name for name, one in zip(names, actuators, strict=True) if getattr(one, "alone", False)]
        if alone and len(names) > 1:
            words = f"because it acts from the first rollout on, got {', '.join(names)}: name it alone"
            raise ValueError(f"{alone[0]} must be the only actuator, {words}")
        self.controller = controller
        self.actuators = list(actuators)
        self.settings: dict[str, float] = {}
        self._args = ActuatorArgs()
        rest = min(max(0.0, self.actuators[0].low), self.actuators[0].high)
        self._links = [Link(rest, None, rest)]
        self._forget()
        self.controller.begin(rest, self.actuator.low, self.actuator.high)

    def begin(self, args: ActuatorArgs) -> None:
        """Start afresh under the configuration `args`; raise where an actuator cannot act after those before it."""
        found = [args]
        for actuator in self.actuators:
            for view in found:
                actuator.check(view)
                check_initial(actuator, view)
            bounds = (actuator.low, actuator.high)
            ends = [checked_settings(actuator, bound, view) for view in found for bound in bounds]
            found = [args, *(_view(args, settings.get("epsilon_high", args.epsilon_high)) for settings in ends)]
        self._args, self._links, self.settings = args, [], {}
        # what only later actuators move is as configured, also after an earlier run of the same trainer
        for actuator in self.actuators:
            self.settings = {**checked_settings(actuator, actuator.initial(args), args), **self.settings}
        self._enter()
        self.controller.begin(self.control, self.actuator.low, self.actuator.high)
        with contextlib.suppress(AttributeError):  # a state that only an update makes is looked at when it is saved
            checked_state(self.controller)

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
        """Whether that control is at a bound; one that rests where it began has not been needed yet."""
        return self.control in (self.actuator.low, self.actuator.high) and self.control != self._links[-1].entry

    def update(self, target: float, entropy: float, slope: float, noise: float | None) -> None:
        """Move the control of the actuator that acts; the arguments are those of [`Controller.update`]."""
        link = self._links[-1]
        control = self.controller.update(target, entropy, slope, noise)
        link.control = checked_control(self.controller, control, self.actuator.low, self.actuator.high)
        self._apply(link)
        bound = (link.control == self.actuator.high) - (link.control == self.actuator.low)
        missing = (target > entropy) - (target < entropy)
        goes_on = [bound, missing] == self._stuck_at or not self._acts
        self._stuck = 0 if bound == 0 else self._stuck + 1 if goes_on else 1
        self._stuck_at = [bound, missing]
        self._eased = self._eased + 1 if self._could_return() else 0

    def rebase(self, target: float, entropy: float, noise: float | None) -> None:
        """Leave every control as it is; the arguments are those of [`Controller.rebase`]."""
        self.controller.rebase(target, entropy, noise)
        self._forget()

    @property
    def _acts(self) -> bool:
        """Whether the control moves entropy, as far as the controller can tell."""
        return self.controller.knowledge is None or self.controller.knowledge.acts

    def _could_return(self) -> bool:
        if len(self._links) < 2:
            return False
        (waiting, link), known = self._links[-2:], self.controller.knowledge
        strong_enough = waiting.strength is None or known is None or waiting.strength >= abs(known.push)
        return strong_enough and waiting.side * (link.control - link.entry) < 0.0

    def hand_over(self) -> str | None:
        """Give the control to another actuator where it is due, and return a message; `None` where it stays."""
        link, before, known = self._links[-1], _name(self.actuator), self.controller.knowledge
        patience = PATIENCE + (known.dead_time if known else 1) - 1
        if self._stuck >= patience and len(self._links) < len(self.actuators):
            link.side, link.strength = self._stuck_at[1] if self._acts else 0, known.strength if known else None
            reason = "is at its bound" if self._acts else "shows no effect"
            self._enter()
            self.controller.take_over(self.control, self.actuator.low, self.actuator.high, holds=True)
            return f"{before} {reason} ({link.control:.3g}): {_name(self.actuator)} takes over"
        if self._eased >= patience:
            link.control = link.entry
            self._apply(link)
            self._links.pop()
            self._links[-1].side = 0
            self._forget()
            self.controller.take_over(self.control, self.actuator.low, self.actuator.high, holds=False)
            return f"{before} is not needed any more: control returns to {_name(self.actuator)}"
        return None

    def _enter(self) -> None:
        epsilon_high = self.settings.get("epsilon_high", self._args.epsilon_high)
        entry = self.actuators[len(self._links)].initial(_view(self._args, epsilon_high))
        self._links.append(Link(entry, epsilon_high, entry))
        self._apply(self._links[-1])
        self._forget()

    def _forget(self) -> None:
        self._stuck = self._eased = 0
        self._stuck_at = [0, 0]

    def _apply(self, link: Link) -> None:
        settings = checked_settings(self.actuator, link.control, _view(self._args, link.epsilon_high))
        self.settings = {**self.settings, **settings}

    def state_dict(self) -> dict[str, Any]:
        """Return the state as JSON values."""
        return {
            "links": [dict(vars(link)) for link in self._links],
            "stuck": self._stuck,
            "stuck_at": self._stuck_at,
            "eased": self._eased,
            "settings": self.settings,
            "controller": checked_state(self.controller),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a saved state; called after [`begin`]."""
        if not self.controller.needs_target:
            return  # the control is the one of the configuration
        self._links = [Link(**link) for link in state["links"]]
        self.settings = state["settings"]
        link = self._links[-1]
        link.control = min(max(link.control, self.actuator.low), self.actuator.high)  # the bounds may have been moved
        self._apply(link)
        self._stuck, self._stuck_at, self._eased = state["stuck"], state["stuck_at"], state["eased"]
        self.controller.begin(link.control, self.actuator.low, self.actuator.high)
        self.controller.load_state_dict(state["controller"])


def _name(actuator: Actuator) -> str:
    return type(actuator).__name__


def _view(args: ActuatorArgs, epsilon_high: float | None) -> ActuatorArgs:
    """Return the configuration as an actuator finds it after another has moved the upper clip, as two of them do."""
    view = copy.copy(args)
    view.epsilon_high = epsilon_high
    return view
