"""The types that a recipe's keys may have, as YAML 1.1 reads them."""

from enum import Enum
from typing import Any

from .registry import EXAMPLES, PARTS


NESTED = (*PARTS, "curriculum", "datasets", "dataset_filter")  # keys that hold mappings or lists of them
SWITCHES = ("resume_from_checkpoint", "scale_rewards", "trackio_static_space_id")  # text that may be true or false, too
WANTED = {
    float: "a number",
    int: "a whole number",
    bool: "true or false",
    str: "the text that is meant, in quotes",
    list: "a list",
}


def check_type(key: str, value: Any, kinds: set[type]) -> None:
    """
    Raise unless a key may have such a value.

    argparse converts a YAML file's text, and passes everything else through.

    Args:
        key (`str`), value (`Any`):
            What YAML has read.
        kinds (`set[type]`):
            The types of the key's field, without what they hold.

    Raises:
        ValueError: saying what to set.
    """
    is_switch = isinstance(value, bool) and (key in SWITCHES or unquoted(value, kinds) == "no")
    fits = type(value) is int and (float in kinds or (bool in kinds and value in (0, 1)))
    if type(value) in kinds or isinstance(value, str) or is_switch or fits:
        return
    for kind, name in ((list, "a list"), (dict, "a mapping"), (type(None), "null")):
        if isinstance(value, kind):
            other = {list: "a list", dict: "a mapping"}
            wanted = next((words for own, words in other.items() if own in kinds), "a single value")
            raise ValueError(f"the recipe's key {key!r} is {value!r}, and cannot be {name}: set {wanted}")
    if key in EXAMPLES and not isinstance(value, bool):
        raise ValueError(f"the recipe's key {key!r} is {value!r}: set a mapping or a list as {EXAMPLES[key]}")
    wanted = next((words for kind, words in WANTED.items() if kind in kinds), "a mapping")
    if value is False and key in ("report_to", "method", *NESTED):
        wanted = "none"
    reason = ", as YAML reads yes, no, on and off" if isinstance(value, bool) else ""
    raise ValueError(f"the recipe's key {key!r} is {value!r}{reason}: set {wanted}")


def unquoted(value: Any, kinds: set[type]) -> Any:
    """The word `no` where YAML has made it false and it is one of the field's values; else `value` itself."""
    enumerations = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Enum)]
    is_no = value is False and any(member.value == "no" for kind in enumerations for member in kind)
    return "no" if is_no else value
