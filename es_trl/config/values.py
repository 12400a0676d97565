"""Conversion of values from YAML or a command line to the type of their field.

It is needed because YAML 1.1 reads 1e-3 as text and no as false, and a command line gives only text.
"""

from enum import Enum
from types import UnionType
from typing import Any, Union, get_args, get_origin

import yaml
from pydantic import TypeAdapter
from pydantic.errors import PydanticUserError

from .registry import PARTS


NONE = ("none", "null")  # text that stands for None
# fields that hold mappings or lists of them
NESTED = (*PARTS, "curriculum", "datasets", "dataset_filter", "eval_datasets", "eval_dataset_filter")
SWITCHES = (
    "resume_from_checkpoint",
    "scale_rewards",
    "trackio_static_space_id",
)  # fields of text that may also be true or false
WANTED = {
    dict: "a mapping",
    float: "a number",
    int: "a whole number",
    bool: "true or false",
    str: "text",
    list: "a list",
}


def kinds_of(hint: Any) -> set[type]:
    """Return the types that a type hint allows, without their arguments: `list[int] | None` gives `list` and `None`."""
    parts = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    return {get_origin(part) or part for part in parts}


def members_of(kind: Any) -> list[Any]:
    """Return the values of an enumeration, or an empty list for another type."""
    return [member.value for member in kind] if isinstance(kind, type) and issubclass(kind, Enum) else []


def as_type(name: str, value: Any, hint: Any) -> Any:
    """
    Convert a value to the type of its field.

    Args:
        name (`str`):
            Name of the field.
        value (`Any`):
            The value from YAML, a command line or a caller.
        hint (`Any`):
            Type hint of the field.

    Returns:
        `Any`: the value as that type.

    Raises:
        ValueError: if the value cannot be converted.
    """
    kinds = kinds_of(hint)
    if value is False and any("no" in members_of(kind) for kind in kinds):
        return "no"  # YAML reads an unquoted no as False
    fits = type(value) in kinds and (not isinstance(value, list) or name in NESTED)
    if fits or (isinstance(value, bool) and name in SWITCHES):
        return value
    try:
        if isinstance(value, bool):  # pydantic would convert it to 0 or 1
            raise ValueError
        listed = isinstance(value, str) and list in kinds and str not in kinds
        return TypeAdapter(hint).validate_python([value] if listed else value)
    except (ValueError, PydanticUserError):  # the latter if pydantic cannot convert to the type
        words = [word for kind, word in WANTED.items() if kind in kinds and not (kind is str and name in NESTED)]
        wanted = " or ".join(words) or "one of its values"
        if wanted == "a list" and get_args(hint) == (float,):
            wanted = "a list of numbers"
        advice = "put it in quotes" if wanted == "text" else "set one"
        if value is False and (name in NESTED or name in ("report_to", "method")):
            advice = "set none"
        meaning = "yes and on as true" if value is True else "no and off as false"
        reason = f" (YAML reads {meaning})" if isinstance(value, bool) else ""
        raise ValueError(f"`{name}` must be {wanted}, got {value!r}{reason}: {advice}") from None


def as_argument(name: str, value: Any, hint: Any) -> Any:
    """Convert an argument of a part if it is a number or a bool, and return every other one as it is."""
    kinds = kinds_of(hint)
    if not kinds <= {float, int, bool, type(None)}:
        return value
    if bool in kinds and not isinstance(value, bool):
        raise ValueError(f"`{name}` must be true or false, got {value!r}: set one")
    return as_type(name, value, hint)


def read_yaml_text(name: str, text: str) -> Any:
    """Return the value of a YAML text. Messages say that the text belongs to `name`."""
    try:
        return yaml.load(text, _UniqueKeys)
    except yaml.YAMLError as error:
        mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
        place = f"{problem} in line {mark.line + 1}" if mark and problem else " ".join(str(error).split())
        raise ValueError(
            f"{name} is not valid YAML ({place}): correct it, for example with quotes around text"
        ) from None


class _UniqueKeys(yaml.SafeLoader):
    """YAML's safe loader, which refuses a key that a mapping has twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} stands there a second time", key.start_mark
                )
            seen.add(key.value if isinstance(key, yaml.ScalarNode) else "")
        return super().construct_mapping(node, deep)
