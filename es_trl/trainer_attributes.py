"""The attributes that a trainer will have, read from its class: what an actuator moves must be one of them."""

import dis
import inspect
from collections.abc import Iterable
from types import FunctionType

from .actuators import Actuator, ActuatorArgs
from .blocks import nearest
from .own_parts import checked_settings


def check_settings(actuators: Iterable[Actuator], trainer_class: type, args: ActuatorArgs) -> None:
    """
    Raise unless actuators move attributes that the trainer has.

    One with a method `bonus` (an [`~effects.Effect`]) reads its settings itself, by names of its own.

    Args:
        actuators (iterable of `Actuator`):
            The loop's.
        trainer_class (`type`):
            The trainer's class.
        args (`GRPOConfig`):
            The configuration.

    Raises:
        ValueError: for a name that the trainer has not, and as [`checked_settings`].
    """
    moved = [actuator for actuator in actuators if not hasattr(actuator, "bonus")]
    known = attributes(trainer_class) if moved else set()
    for actuator in moved:
        for control in (actuator.initial(args), actuator.low, actuator.high):
            for setting in checked_settings(actuator, control, args).keys() - known:
                raise ValueError(
                    f"{type(actuator).__name__}.settings must name attributes of {trainer_class.__name__}, got "
                    f"{setting!r}{nearest(str(setting), known)}: change the name"
                )


def attributes(kind: type) -> set[str]:
    """What objects of a class have: what it defines, and what its methods set."""
    functions = [member for base in kind.__mro__ for member in vars(base).values() if isinstance(member, FunctionType)]
    steps = (step for function in functions for step in dis.get_instructions(inspect.unwrap(function)))
    return {*dir(kind), *(step.argval for step in steps if step.opname == "STORE_ATTR")}
