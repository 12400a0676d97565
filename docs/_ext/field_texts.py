"""Type, range, default and help of a configuration's fields, as a reader of YAML needs them."""

import types
from collections.abc import Sequence
from dataclasses import MISSING, Field
from enum import Enum
from typing import Any, Literal, Union, get_args, get_origin

from hf_docstrings import documented

from es_trl.config import sizes
from es_trl.config.field_checks import CHOICES, RANGES
from es_trl.config.methods import METHODS
from es_trl.config.registry import PARTS
from es_trl.config.values import NESTED
from es_trl.data.arguments import PROMPT_FORMATS


WORDS = {bool: "true or false", int: "whole number", float: "number", str: "text", list: "list", dict: "mapping"}
WORDS[Sequence] = WORDS[list]
MOST = 12  # choices that a cell shows
COUNTS = {
    **dict.fromkeys((*sizes.COUNTS, *sizes.OPTIONAL), ">= 1"),
    **dict.fromkeys(sizes.FROM_ZERO, ">= 0"),
    "num_generations": ">= 2",
}
OWN_CHOICES: dict[str, Sequence[Any]] = {"method": tuple(METHODS), "prompt_format": PROMPT_FORMATS}

# where TRL's help does not say what a key means for a rollout
OWN_TEXTS = {
    "num_generations": "Completions per prompt. It must divide the completions of a rollout.",
    "per_device_train_batch_size": "Completions (not prompts) of one micro-batch on one process.",
    "gradient_accumulation_steps": "Micro-batches per update on one process.",
    "steps_per_generation": "Micro-batches per rollout on one process. Unset, it is `gradient_accumulation_steps`, "
    "which makes one update per rollout.",
    "max_steps": "Updates of the run. Unset (-1), `num_train_epochs` counts.",
}


def takes(name: str, hint: Any) -> str:
    """Return what a field takes: its types in words, and its range or its choices."""
    choices = CHOICES.get(name) or OWN_CHOICES.get(name) or _members(hint)
    if choices and len(choices) <= MOST:
        return ", ".join(f"`{yaml_text(choice)}`" for choice in choices)
    if choices:
        return f"one of {len(choices)} names"
    kinds = [get_origin(kind) or kind for kind in _parts(hint)]
    if float in kinds:  # which takes whole numbers, too
        kinds = [kind for kind in kinds if kind is not int]
    words = {kind: word for kind, word in WORDS.items() if kind in kinds}
    if name in NESTED:  # a block; text is how a command line gives it
        words[str] = "kind" if name in PARTS else ""
    said = " or ".join(word for word in words.values() if word)
    return f"{said or 'object'} {RANGES.get(name) or COUNTS.get(name, '')}".strip()


def default(field: Field[Any]) -> str:
    """Return the default of a field as YAML has it; a field without one must be given."""
    if field.default is MISSING and field.default_factory is MISSING:
        return "must be given"
    value = field.default_factory() if field.default is MISSING else field.default
    return "none" if value is None else f"`{yaml_text(value)}`"


def texts(kind: type, field: Field[Any]) -> str:
    """Return the meaning of a field: our own text, else that of its class's docstring, else its `help`."""
    if field.name in OWN_TEXTS:
        return OWN_TEXTS[field.name]
    return documented(kind).get(field.name, ("", ""))[1] or " ".join(field.metadata.get("help", "").split())


def yaml_text(value: Any) -> str:
    """Return a value as a recipe writes it."""
    value = value.value if isinstance(value, Enum) else value
    return str(value).lower() if isinstance(value, bool) else '""' if value == "" else str(value)


def _parts(hint: Any) -> list[Any]:
    """Return the types of a union, or the one type."""
    return list(get_args(hint)) if get_origin(hint) in (Union, types.UnionType) else [hint]


def _members(hint: Any) -> list[Any]:
    """Return the values of an enumeration or of a `Literal`."""
    found: list[Any] = []
    for kind in _parts(hint):
        if get_origin(kind) is Literal:
            found += get_args(kind)
        elif isinstance(kind, type) and issubclass(kind, Enum):
            found += [member.value for member in kind]
    return found
