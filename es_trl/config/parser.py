"""Conversion between the blocks of a configuration (mappings, kinds or objects) and the parts that they describe."""

import dataclasses
import pickle
import typing
from typing import Any

from ..common.nearest import nearest
from ..control.checks import as_actuators, check_controller
from ..control.schedules import as_schedule
from ..curriculum.stages import Stage
from .registry import PARTS
from .values import NONE, as_argument, read_yaml_text


def read_block(block: str, value: Any) -> Any:
    """Return a block with YAML text read as a mapping or a list, and `none` as `None`."""
    if not isinstance(value, str):
        return value
    return read_yaml_text(f"`{block}`", value) if value.startswith(("{", "[")) else None if value in NONE else value


def build_part(block: str, value: Any) -> Any:
    """
    Build the part that a block describes.

    Args:
        block (`str`):
            `"entropy_schedule"`, `"entropy_controller"` or `"entropy_actuator"`.
        value (`dict[str, Any]`, `str` or object):
            A mapping of `kind` and the arguments of the class that it names, or the kind alone, or the object itself.

    Returns:
        `Schedule`, `Controller` or `Actuator`: the part. An object is returned as it is.

    Raises:
        ValueError: if a kind or an argument is unknown (the message names the nearest one), or a value does not fit.
    """
    kinds = PARTS[block]
    arguments = {"kind": value} if isinstance(value, str) else value
    if not isinstance(arguments, dict):
        return _checked_object(block, value)
    if "kind" not in arguments:
        raise ValueError(
            f"`{block}` must be a mapping with a `kind`, got {value!r}: set it to one of {', '.join(kinds)}"
        )
    kind = arguments["kind"]
    if not isinstance(kind, str) or kind not in kinds:
        raise ValueError(f"`{block}` has no kind {kind!r}{nearest(str(kind), kinds)}: set one of {', '.join(kinds)}")
    rest = {name: value for name, value in arguments.items() if name != "kind"}
    return _build(block, f"kind {kind}", kinds[kind], rest)


def build_stages(value: Any) -> list[Stage]:
    """Build the stages of a `curriculum` block: a list of [`Stage`] objects or of mappings of its arguments."""
    if not isinstance(value, list):
        example = "[{start: onset, num_generations: 32}]"
        raise ValueError(f"`curriculum` must be a list of stages, got {value!r}: set for example {example}")
    return [
        stage if isinstance(stage, Stage) else _build("curriculum", f"entry {number}", Stage, stage)
        for number, stage in enumerate(value, start=1)
    ]


def as_block(block: str, part: Any) -> Any:
    """Return the block of a part, in JSON values; for a part without a kind, its `repr`."""
    if isinstance(part, list):
        return [as_block(block, one) for one in part]
    kind = kind_of(block, part)
    if part is None or (kind is None and not isinstance(part, Stage)):
        return None if part is None else repr(part)
    arguments = {each.name: getattr(part, each.name) for each in dataclasses.fields(part)}
    return arguments if kind is None else {"kind": kind, **arguments}


def kind_of(block: str, part: Any) -> str | None:
    """Return the kind of a part, or `None` if its class is not in the registry."""
    return next((kind for kind, of_kind in PARTS.get(block, {}).items() if type(part) is of_kind), None)


def _build(block: str, part: str, kind: type, arguments: Any) -> Any:
    """Build an object of the dataclass `kind` from its `arguments`. Messages name it as `part`."""
    known = {f.name: f for f in dataclasses.fields(kind)}
    if not isinstance(arguments, dict):
        raise ValueError(f"`{block}` must have a mapping for {part}, got {arguments!r}: set some of {', '.join(known)}")
    for name in arguments:
        if name not in known:
            raise ValueError(
                f"`{block}` of {part} has no argument {name!r}{nearest(str(name), known)}: set only {', '.join(known)}"
            )
    required = [f.name for f in known.values() if f.default is f.default_factory is dataclasses.MISSING]
    missing = [f"`{name}`" for name in required if name not in arguments]
    if missing:
        raise ValueError(f"`{block}` of {part} needs {' and '.join(missing)}: set it")
    try:
        hints = typing.get_type_hints(kind)
        return kind(**{name: as_argument(name, value, hints[name]) for name, value in arguments.items()})
    except ValueError as error:
        raise ValueError(f"`{block}` of {part}: {error}") from None


def _checked_object(block: str, value: Any) -> Any:
    """Return a part that was given as an object. Raise unless it is a part and can be pickled."""
    if isinstance(value, type | list | tuple | set | bool | int | float) or value is None:
        example = f"{value.__name__}(...)" if isinstance(value, type) else ", ".join(PARTS[block])
        raise ValueError(f"`{block}` must be a mapping with a `kind`, or an object, got {value!r}: set {example}")
    if block == "entropy_schedule":
        value = as_schedule(value)
    elif block == "entropy_controller":
        check_controller(value)
    else:
        as_actuators(value)
    try:
        pickle.dumps(value)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ValueError(
            f"`{block}` must be an object that can be pickled, because the configuration is saved with the model, got "
            f"{value!r} ({error}): define its class or function at the top level of a module"
        ) from None
    return value
