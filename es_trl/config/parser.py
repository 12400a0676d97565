"""The blocks of a recipe: mappings made into the objects that they describe, or refused."""

import dataclasses
import json
import typing
from typing import Any

from ..common.nearest import nearest
from .registry import EXAMPLES, PARTS


def build_part(block: str, values: dict[str, Any] | str) -> Any:
    """
    The object that a block describes.

    Args:
        block (`str`):
            `"entropy_schedule"`, `"entropy_controller"` or `"entropy_actuator"`.
        values (`dict[str, Any]` or `str`):
            `kind`, and arguments of the class that it names; or the kind alone.

    Raises:
        ValueError: for an unknown kind or argument (naming the nearest known one) and for a value that does not fit.
    """
    kinds = PARTS[block]
    if isinstance(values, str):
        values = {"kind": values}
    if not isinstance(values, dict) or "kind" not in values:
        raise ValueError(
            f"`{block}` is {values!r}, and a block is a mapping with a `kind`: set it to {', '.join(kinds)}"
        )
    arguments = dict(values)
    kind = arguments.pop("kind")
    if not isinstance(kind, str) or kind not in kinds:
        raise ValueError(f"`{block}` has no kind {kind!r}{nearest(str(kind), kinds)}: set it to {', '.join(kinds)}")
    return build(block, f"kind {kind}", kinds[kind], arguments)


def build(block: str, part: str, kind: type, arguments: Any) -> Any:
    """
    A dataclass from the mapping that a block of a recipe holds.

    Args:
        block (`str`), part (`str`):
            Where the mapping stands, for messages.
        kind (`type`):
            The dataclass.
        arguments (`dict[str, Any]`):
            Its arguments.

    Raises:
        ValueError: as [`build_part`].
    """
    known = {f.name: f for f in dataclasses.fields(kind)}
    if not isinstance(arguments, dict):
        raise ValueError(f"`{block}` has {arguments!r} for {part}, and it is a mapping of {', '.join(known)}: set one")
    for name in arguments:
        if name not in known:
            raise ValueError(
                f"`{block}` of {part} has no argument {name!r}{nearest(str(name), known)}: it takes {', '.join(known)}"
            )
    missing = [
        name
        for name, f in known.items()
        if name not in arguments and f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise ValueError(f"`{block}` of {part} needs {' and '.join(f'`{name}`' for name in missing)}: set it")
    try:
        types = typing.get_type_hints(kind)
        return kind(**{name: _convert(name, value, types[name]) for name, value in arguments.items()})
    except ValueError as error:
        raise ValueError(f"`{block}` of {part}: {error}") from None


def read_json(name: str, text: str) -> Any:
    """
    The mapping or list that a block's text holds, as it comes from a command line.

    Raises:
        ValueError: where it holds none.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(
            f"`{name}` is {text!r}, and nothing that JSON can read ({error}): set it as in {EXAMPLES[name]}"
        ) from None


def _convert(name: str, value: Any, expected: Any) -> Any:
    """`value` as the field's type; YAML 1.1 reads 1e-3 as text, so numbers may come as strings."""
    if expected is bool:
        if not isinstance(value, bool):
            raise ValueError(f"`{name}` is {value!r}: set true or false")
        return value
    numbers = {float: float, int: int, int | None: int}
    if expected not in numbers or (value is None and expected == int | None):
        return value
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"`{name}` is {value!r}: set a number") from None
    if isinstance(value, bool) or (numbers[expected] is int and not number.is_integer()):
        raise ValueError(f"`{name}` is {value!r}: set {'a whole number' if numbers[expected] is int else 'a number'}")
    return numbers[expected](number)
