"""Parts of a loop that a user wrote: what they lack is found when the loop is built, and not at the first switch."""

import inspect
import json
import math
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

from .base import Actuator, ActuatorArgs, Controller


# methods of a controller with the arguments that the loop calls them with
CALLS: dict[str, tuple[str, ...]] = {
    "begin": ("initial", "low", "high"),
    "update": ("target", "entropy", "slope", "noise"),
    "rebase": ("target", "entropy", "noise"),
    "state_dict": (),
    "load_state_dict": ("state",),
}
ACTUATOR_CALLS: dict[str, tuple[str, ...]] = {
    "initial": ("args",),
    "settings": ("control", "args"),
    "check": ("args",),
}
REST = sorted(name for name in vars(Controller) if not name.startswith("_") and name not in CALLS)


def check_controller(controller: Any) -> None:
    """
    Raise unless `controller` is an object with all that a loop asks of it.

    Raises:
        ValueError: naming what it lacks.
    """
    if isinstance(controller, type) or isinstance(controller, str | Mapping) or not hasattr(controller, "__dict__"):
        example = f"{controller.__name__}()" if isinstance(controller, type) else "PIDController()"
        raise ValueError(
            f"the controller must be an object of a subclass of Controller, got {controller!r}: give for example "
            f"{example}, or set `entropy_controller` in ESGRPOConfig"
        )
    name = type(controller).__name__
    lacking = [call for call in CALLS if _own(controller, call) is None]
    lacking += [attribute for attribute in REST if not hasattr(type(controller), attribute)]
    if lacking:
        raise ValueError(
            f"the controller {name} must define {', '.join(lacking)}: add them, in a subclass of "
            "es_trl.Controller, which has the rest"
        )
    for call, arguments in CALLS.items():
        if not _takes(getattr(controller, call), arguments):
            raise ValueError(f"{name}.{call} must take ({', '.join(arguments)}): change its arguments")


def as_actuators(actuator: Any) -> list[Actuator]:
    """
    One actuator or several as a list.

    Raises:
        ValueError: for what is no actuator, naming what it lacks.
    """
    several = isinstance(actuator, Sequence) and not isinstance(actuator, str | bytes)
    actuators = list(actuator) if several else [actuator]
    for one in actuators:
        if isinstance(one, type) or isinstance(one, str | Mapping):
            example = f"{one.__name__}()" if isinstance(one, type) else "EntropyBonusActuator()"
            raise ValueError(
                f"the actuator must be an object, or a list of them, got {one!r}: give for example {example}, or set "
                "`entropy_actuator` in ESGRPOConfig"
            )
        name = type(one).__name__
        lacking = [part for part in ("low", "high", *ACTUATOR_CALLS) if not hasattr(one, part)]
        if lacking:
            raise ValueError(f"the actuator {name} must define {', '.join(lacking)}: add them")
        for call, arguments in ACTUATOR_CALLS.items():
            if not _takes(getattr(one, call), arguments):
                raise ValueError(f"{name}.{call} must be a method of ({', '.join(arguments)}): change it")
    return actuators


def check_range(actuator: Actuator, args: ActuatorArgs) -> None:
    """
    Raise unless an actuator's bounds are numbers, one below the other, between which its control begins.

    Raises:
        ValueError: naming the actuator.
    """
    name, low, high, initial = type(actuator).__name__, actuator.low, actuator.high, actuator.initial(args)
    if not (_is_number(low) and _is_number(high) and low < high):
        raise ValueError(f"the bounds of {name} must be finite numbers, low < high, got {low!r} and {high!r}: set them")
    if not (_is_number(initial) and low <= initial <= high):
        raise ValueError(
            f"the control of {name} must begin within its bounds [{low:g}, {high:g}], got {initial!r}: correct its "
            "`initial`, or widen the bounds"
        )


def checked_control(controller: Controller, control: Any, low: float, high: float) -> float:
    """
    `control` as a float.

    Raises:
        ValueError: where it is no finite number within [`low`, `high`].
    """
    if not _is_number(control) or not low <= control <= high:
        raise ValueError(
            f"the control of {type(controller).__name__} must be a finite number within its bounds [{low:g}, "
            f"{high:g}], got {control!r}: correct its `update`"
        )
    return float(control)


def checked_state(part: Any) -> dict[str, Any]:
    """
    What `state_dict` of a controller or a callback returns.

    Raises:
        ValueError: where it is no mapping of JSON values, as a checkpoint needs.
    """
    name, state = type(part).__name__, part.state_dict()
    try:
        text = json.dumps(state)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}.state_dict must return JSON values, got {state!r} ({error}): correct it") from error
    if not isinstance(state, dict) or json.loads(text).keys() != state.keys():
        raise ValueError(f"{name}.state_dict must return a dict with text for keys, got {state!r}: correct it")
    return state


def checked_settings(actuator: Actuator, control: float, args: ActuatorArgs) -> dict[str, float]:
    """
    The settings of an actuator at a control, as in [`~actuators.Actuator.settings`].

    Raises:
        ValueError: where they are no mapping, or one is no finite number.
    """
    name, settings = type(actuator).__name__, actuator.settings(control, args)
    if not isinstance(settings, Mapping):
        raise ValueError(f"{name}.settings must return a mapping, got {settings!r}: return names with their values")
    for setting, value in settings.items():
        if not _is_number(value):
            raise ValueError(
                f"{name}.settings must return finite numbers, got {value!r} for {setting!r} at the control "
                f"{control!r}: correct it"
            )
    return dict(settings)


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def _own(controller: Any, call: str) -> Any:
    """A method of a controller, unless it is missing or the one that only says what to define."""
    method = getattr(type(controller), call, None)
    return None if method is getattr(Controller, call) else getattr(controller, call, None)


def _takes(method: Any, arguments: tuple[str, ...]) -> bool:
    if not callable(method):
        return False
    try:
        inspect.signature(method).bind(*arguments)
    except (TypeError, ValueError):
        return False
    return True
