"""Checks of controllers and actuators, which a user may have written."""

import inspect
import json
from collections.abc import Mapping, Sequence
from typing import Any

from .base import Actuator, ActuatorArgs, Controller
from .open_loop import PatternController
from .values import check_bounds, is_number


# each method with the names of the arguments that the loop passes
CONTROLLER_CALLS: dict[str, tuple[str, ...]] = {
    "begin": ("initial", "low", "high"),
    "update": ("target", "entropy", "slope", "noise"),
    "rebase": ("target", "entropy", "noise"),
    "state_dict": (),
    "load_state_dict": ("state",),
}
ACTUATOR_CALLS: dict[str, tuple[str, ...]] = {"initial": ("args",), "settings": ("control", "args"), "check": ("args",)}
REST = sorted(name for name in vars(Controller) if not name.startswith("_") and name not in CONTROLLER_CALLS)


def check_controller(controller: Any) -> None:
    """Raise `ValueError` unless `controller` is an object with every method and attribute that the loop uses."""
    if isinstance(controller, type | str | Mapping) or not hasattr(controller, "__dict__"):
        example = f"{controller.__name__}()" if isinstance(controller, type) else "PIDController()"
        words = f"got {controller!r}: give for example {example}, or set `entropy_controller` in ESGRPOConfig"
        raise ValueError(f"the controller must be an object of a subclass of Controller, {words}")
    kind = type(controller)
    lacking = [call for call in CONTROLLER_CALLS if getattr(kind, call, None) in (None, getattr(Controller, call))]
    lacking += [attribute for attribute in REST if not hasattr(kind, attribute)]
    if lacking:
        words = f"{', '.join(lacking)}: add them in a subclass of es_trl.Controller, which defines the others"
        raise ValueError(f"the controller {kind.__name__} must define {words}")
    _check_calls(controller, CONTROLLER_CALLS)


def as_actuators(actuator: Any) -> list[Actuator]:
    """Return one actuator or several as a list; raise `ValueError` if one lacks a method or an attribute."""
    several = isinstance(actuator, Sequence) and not isinstance(actuator, str | bytes)
    actuators = list(actuator) if several else [actuator]
    for one in actuators:
        if isinstance(one, type | str | Mapping):
            example = f"{one.__name__}()" if isinstance(one, type) else "EntropyBonusActuator()"
            words = f"got {one!r}: give for example {example}, or set `entropy_actuator` in ESGRPOConfig"
            raise ValueError(f"the actuator must be an object, or a list of them, {words}")
        name = type(one).__name__
        lacking = [part for part in ("low", "high", *ACTUATOR_CALLS) if not hasattr(one, part)]
        if isinstance(one, Actuator) and type(one).settings is Actuator.settings and not hasattr(one, "setting"):
            lacking.append("setting")
        if lacking:
            raise ValueError(f"the actuator {name} must define {', '.join(lacking)}: add them")
        _check_calls(one, ACTUATOR_CALLS)
        check_bounds(name, one.low, one.high)
    return actuators


def check_per_update(controller: Controller, actuators: Sequence[Actuator]) -> None:
    """Raise `ValueError` unless the parts can decide after every update, with `entropy_sensor: update`."""
    kind, actuator = type(controller).__name__, actuators[0]
    must, leave = "must be rollout with", "set entropy_sensor: rollout"
    if type(controller).knowledge not in (None, Controller.knowledge):  # an object knows nothing before its first run
        words = f"{kind}, which learns how entropy answers per rollout, got update: {leave}, or the controller to pid"
    elif len(actuators) > 1:
        words = f"a list of actuators, whose hand-over counts rollouts, got update: {leave}, or name one actuator"
    elif isinstance(controller, PatternController):
        words = f"{kind}, which follows the rollouts and no entropy, got update: {leave}"
    elif getattr(actuator, "clamp", 0.0) > 0.0:
        words = f"{type(actuator).__name__}, which holds the clamped entropy, got update: {leave}"
    elif isinstance(actuator, Actuator) and type(actuator).kept is not Actuator.kept:
        words = f"{type(actuator).__name__}, which chooses the completions of a rollout once, got update: {leave}"
    else:
        return
    raise ValueError(f"`entropy_sensor` {must} {words}")


def check_initial(actuator: Actuator, args: ActuatorArgs) -> None:
    """Raise `ValueError` unless the initial control of an actuator is within its bounds."""
    initial = actuator.initial(args)
    if not (is_number(initial) and actuator.low <= initial <= actuator.high):
        names = ", ".join(checked_settings(actuator, actuator.low, args))
        raise ValueError(
            f"the control of {type(actuator).__name__} must begin within its bounds [{actuator.low:g}, "
            f"{actuator.high:g}], got {initial!r}{names and f' for {names}'}: widen `low` and `high`, or change "
            "the initial value"
        )


def checked_control(controller: Controller, control: Any, low: float, high: float) -> float:
    """Return `control` as a float; raise `ValueError` unless it is a finite number within [`low`, `high`]."""
    if not is_number(control) or not low <= control <= high:
        words = f"a finite number within its bounds [{low:g}, {high:g}], got {control!r}"
        raise ValueError(f"the control of {type(controller).__name__} must be {words}: correct `update` and `rebase`")
    return float(control)


def checked_state(part: Any) -> dict[str, Any]:
    """Return the state of a controller or a callback; raise `ValueError` unless it is a dict of JSON values."""
    name, state = type(part).__name__, part.state_dict()
    try:
        text = json.dumps(state)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}.state_dict must return JSON values, got {state!r} ({error}): correct it") from error
    if not isinstance(state, dict) or json.loads(text).keys() != state.keys():
        raise ValueError(f"{name}.state_dict must return a dict whose keys are text, got {state!r}: correct it")
    return state


def checked_settings(actuator: Actuator, control: float, args: ActuatorArgs) -> dict[str, float]:
    """Return the settings of an actuator for a control; raise `ValueError` unless they map names to finite numbers."""
    name, settings = type(actuator).__name__, actuator.settings(control, args)
    if not isinstance(settings, Mapping):
        raise ValueError(f"{name}.settings must return a mapping, got {settings!r}: return names with their values")
    for setting, value in settings.items():
        if not is_number(value):
            words = f"got {value!r} for {setting!r} at the control {control!r}: correct it"
            raise ValueError(f"{name}.settings must return finite numbers, {words}")
    return dict(settings)


def _check_calls(part: Any, calls: Mapping[str, tuple[str, ...]]) -> None:
    for call, arguments in calls.items():
        try:
            inspect.signature(getattr(part, call)).bind(*arguments)
        except (TypeError, ValueError):
            words = f"must accept the arguments ({', '.join(arguments)}): change its signature"
            raise ValueError(f"{type(part).__name__}.{call} {words}") from None
