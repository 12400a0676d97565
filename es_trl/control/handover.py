"""A chain of actuators: one acts at a time, and the next one takes over when it can no longer move entropy."""

import contextlib
import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .base import Actuator, ActuatorArgs, Controller
from .checks import check_initial, checked_control, checked_settings, checked_state
from .open_loop import HoldController


# Rollouts in a row that a condition must hold before a hand-over, plus the dead time beyond one rollout. The number is
# large enough that noise alone causes no hand-over.
PATIENCE = 5


@dataclass
class Link:
    """The state of an actuator that acts, or that waits for control to return."""

    entry: float  # its control when it took over, at which its settings did not change
    epsilon_high: float | None  # the upper clip when it took over
    control: float
    # sign of the error when it handed over: 1 if entropy was too low, -1 if too high, 0 if control is not to return
    side: int = 0
    strength: float | None = None  # `PlantKnowledge.strength` when it handed over


class ActuatorChain:
    """
    A chain through which one controller acts on the first actuator that can move entropy.

    An actuator hands over to the next one in two cases, each of which must last [`PATIENCE`] rollouts in a row:

    - It is at the same bound, and entropy stays on the same side of the target.
    - It is at a bound, and its controller sees no effect of the control.

    It then stays at its control, and the next actuator starts from the control that leaves the trainer's settings as
    they are, so nothing jumps. Control returns when the next actuator has pushed in the opposite direction for as many
    rollouts, with a push that the waiting actuator could make, too.

    Before [`begin`] no setting is applied, and the control is the value nearest to 0 within the bounds.

    Args:
        controller (`Controller`):
            The controller.
        actuators (sequence of `Actuator`):
            The actuators in their order, at least one and each kind at most once. An actuator that is `alone` must be
            the only one.

    Raises:
        ValueError: for actuators that cannot form a chain.
    """

    def __init__(self, controller: Controller, actuators: Sequence[Actuator]) -> None:
        if not actuators:
            raise ValueError("the chain of actuators must have at least one actuator, got none: name one")
        names = [_name(actuator) for actuator in actuators]
        if len(set(names)) < len(names):
            raise ValueError(
                f"the chain of actuators must not repeat an actuator, got {', '.join(names)}: name each once"
            )
        alone = [name for name, one in zip(names, actuators, strict=True) if getattr(one, "alone", False)]
        if alone and len(names) > 1:
            words = f"because it already acts at its first control, got {', '.join(names)}: name no other actuator"
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
        """Start afresh under the configuration `args`; raise `ValueError` if an actuator has no authority."""
        found = [args]
        for actuator in self.actuators:
            for view in found:
                actuator.check(view)
                check_initial(actuator, view)
            bounds = (actuator.low, actuator.high)
            ends = [checked_settings(actuator, bound, view) for view in found for bound in bounds]
            found = [args, *(_view(args, settings.get("epsilon_high", args.epsilon_high)) for settings in ends)]
        self._args, self._links, self.settings = args, [], {}
        # an earlier run of the same trainer may have moved settings of later actuators: all begin as configured
        for actuator in self.actuators:
            self.settings = {**checked_settings(actuator, actuator.initial(args), args), **self.settings}
        self._enter()
        self.controller.begin(self.control, self.actuator.low, self.actuator.high)
        with contextlib.suppress(AttributeError):  # some controllers have a state only after their first update
            checked_state(self.controller)

    @property
    def actuator(self) -> Actuator:
        """The actuator that acts."""
        return self.actuators[len(self._links) - 1]

    @property
    def control(self) -> float:
        """The control of the actuator that acts."""
        return self._links[-1].control

    @property
    def part(self) -> float:
        """The control of the actuator that acts, counted from where it took over in units of half its range."""
        return (self.control - self._links[-1].entry) / self.unit

    @property
    def unit(self) -> float:
        """Half the range of the control of the actuator that acts."""
        return (self.actuator.high - self.actuator.low) / 2.0

    @property
    def saturated(self) -> bool:
        """Whether the control is at a bound. A control that is still where the actuator took over does not count."""
        return self.control in (self.actuator.low, self.actuator.high) and self.control != self._links[-1].entry

    def update(self, target: float, entropy: float, slope: float, noise: float | None) -> None:
        """Move the control of the actuator that acts. The arguments are those of [`Controller.update`]."""
        link = self._links[-1]
        self._move(link, self.controller.update(target, entropy, slope, noise))
        bound = (link.control == self.actuator.high) - (link.control == self.actuator.low)
        missing = (target > entropy) - (target < entropy)
        goes_on = [bound, missing] == self._stuck_at or not self._acts
        self._stuck = 0 if bound == 0 else self._stuck + 1 if goes_on else 1
        self._stuck_at = [bound, missing]
        self._eased = self._eased + 1 if self._could_return() else 0

    def rebase(self, target: float, entropy: float, noise: float | None) -> None:
        """Take up a switch of prompts or lengths. The arguments are those of [`Controller.rebase`]."""
        control = self.controller.rebase(target, entropy, noise)
        if control is not None:
            self._move(self._links[-1], control)
        self._forget()

    @property
    def _acts(self) -> bool:
        """Whether the control moves entropy; `True` for a controller that does not learn."""
        return self.controller.knowledge is None or self.controller.knowledge.acts

    def _could_return(self) -> bool:
        if len(self._links) < 2:
            return False
        (waiting, link), known = self._links[-2:], self.controller.knowledge
        strong_enough = waiting.strength is None or known is None or waiting.strength >= abs(known.push)
        return strong_enough and waiting.side * (link.control - link.entry) < 0.0

    def hand_over(self) -> str | None:
        """Hand over to another actuator if it is time; return a message about it, or `None` if nothing changes."""
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

    def _move(self, link: Link, control: float) -> None:
        link.control = checked_control(self.controller, control, self.actuator.low, self.actuator.high)
        self._apply(link)

    def _apply(self, link: Link) -> None:
        settings = checked_settings(self.actuator, link.control, _view(self._args, link.epsilon_high))
        self.settings = {**self.settings, **settings}

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the chain and of its controller as JSON values."""
        return {
            "links": [dict(vars(link)) for link in self._links],
            "stuck": self._stuck,
            "stuck_at": self._stuck_at,
            "eased": self._eased,
            "settings": self.settings,
            "controller": checked_state(self.controller),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a saved state; call [`begin`] first."""
        if isinstance(self.controller, HoldController):
            return  # the control of the present configuration holds
        self._links = [Link(**link) for link in state["links"]]
        self.settings = state["settings"]
        link = self._links[-1]
        # the configuration may have other bounds than the checkpoint
        link.control = min(max(link.control, self.actuator.low), self.actuator.high)
        self._apply(link)
        self._stuck, self._stuck_at, self._eased = state["stuck"], state["stuck_at"], state["eased"]
        self.controller.begin(link.control, self.actuator.low, self.actuator.high)
        self.controller.load_state_dict(state["controller"])


def _name(actuator: Actuator) -> str:
    return type(actuator).__name__


def _view(args: ActuatorArgs, epsilon_high: float | None) -> ActuatorArgs:
    """Return a copy of `args` with another upper clip, because an earlier actuator may have moved it."""
    view = copy.copy(args)
    view.epsilon_high = epsilon_high
    return view
