"""The keys of a recipe that name its datasets."""

import os
import re
from dataclasses import dataclass, field, fields, replace
from typing import Any

import yaml

from ..common.nearest import nearest
from ..curriculum.stages import BASE_DATA
from .row_filter import EXAMPLE


PROMPT_FORMATS = ("chat", "text")
_EXAMPLES = {
    "dataset_filter": EXAMPLE,
    "datasets": "{hard: {dataset_name: hard.jsonl, dataset_filter: {level: [4, 5]}}}",
    "eval_dataset_filter": EXAMPLE,
    "eval_datasets": "{math500: {dataset_name: math500.jsonl, answer_column: answer}}",
}
EVAL_DATA = "eval"  # name of an evaluation dataset that has none
EVAL_KEYS = ("dataset_name", "dataset_split", "dataset_filter")  # keys that also exist with `eval_`
_OPTIONAL = ("dataset_name", "prompt_template", "eval_dataset_name", "eval_dataset_split")
_TEXTS = ("prompt_column", "answer_column", "prompt_suffix", "dataset_split", *_OPTIONAL)
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff]")
_DEFAULTS = {"prompt_column": "prompt", "prompt_suffix": ""}


def _key(default: str | None, text: str) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass
class DataArguments:
    """
    The datasets of a recipe. The help of a field says what it takes; `a.b` names the field `b` of a column `a`.

    Raises:
        ValueError: for a value of another type, or two keys that contradict each other.
    """

    dataset_name: str | None = _key(None, "Dataset on the Hub, or a local .json, .jsonl or .parquet file.")
    dataset_config: str | None = _key(None, "Configuration of a Hub dataset.")
    dataset_split: str = _key("train", "Split of a Hub dataset; a local file has train, or train[:100] of it.")
    prompt_column: str = _key(
        _DEFAULTS["prompt_column"], "Column with the problem: text, or messages of which the last is the user's."
    )
    answer_column: str = _key("solution", "Column with the right answer: text, a number, or a list of alternatives.")
    prompt_template: str | None = _key(None, "Prompt made of columns, as 'Q: {question}', in place of prompt_column.")
    prompt_suffix: str = _key(
        _DEFAULTS["prompt_suffix"], "Instruction put after the text of a problem, or of the last message of a chat."
    )
    prompt_format: str = _key("chat", "chat, or text for a base model without a chat template.")
    dataset_filter: dict[str, Any] | str | None = _key(None, f"Numbers of rows to keep: {EXAMPLE}, or null as an end.")
    datasets: dict[str, Any] | str | None = _key(None, "More datasets by name, with the keys that differ from these.")
    eval_dataset_name: str | None = _key(None, "Dataset of evaluations, where it is not dataset_name.")
    eval_dataset_split: str | None = _key(None, "Split of evaluations, where it is not dataset_split.")
    eval_dataset_filter: dict[str, Any] | str | None = _key(
        None, "Numbers of rows to keep for evaluations, where they are not dataset_filter; {} keeps all."
    )
    eval_datasets: dict[str, Any] | str | None = _key(
        None, "Datasets of evaluations by name, with the keys that differ from the training's."
    )

    def __post_init__(self) -> None:
        for name, example in _EXAMPLES.items():
            value = getattr(self, name)
            try:  # text is from a command line
                parsed = yaml.safe_load(value) if isinstance(value, str) else value
            except yaml.YAMLError:
                parsed = value
            setattr(self, name, None if parsed == "none" else parsed)
            if not isinstance(getattr(self, name), dict | None):
                raise ValueError(f"`{name}` must be a mapping, got {value!r}: set for example {example}")
        if self.prompt_template in ("none", ""):  # a command line takes a recipe's template away
            self.prompt_template = None
        if isinstance(self.dataset_name, os.PathLike):
            self.dataset_name = os.fspath(self.dataset_name)
        for name in _TEXTS:
            value = getattr(self, name)
            if not isinstance(value, str) and (value is not None or name not in _OPTIONAL):
                raise ValueError(f"`{name}` must be text, got {value!r}: put it in quotes")
        for name in ("prompt_column", "prompt_suffix"):
            if self.prompt_template is not None and (value := getattr(self, name)) != _DEFAULTS[name]:
                raise ValueError(
                    f"`{name}` is {value!r} and `prompt_template` is {self.prompt_template!r}, but the template alone "
                    "makes the prompt: remove one of the two, for example by --prompt_template none"
                )
        for name in ("prompt_template", "prompt_suffix"):
            if found := _CONTROL.search(getattr(self, name) or ""):
                raise ValueError(
                    f"`{name}` must be text without control characters, got {found[0]!r}: double each backslash "
                    "in YAML's double quotes, or use single quotes"
                )
        if self.prompt_format not in PROMPT_FORMATS:
            must = f"`prompt_format` must be {' or '.join(PROMPT_FORMATS)}, got {self.prompt_format!r}"
            raise ValueError(f"{must}: set text for a base model without a chat template")
        if self.eval_dataset_name is not None and self.eval_datasets:
            raise ValueError(
                f"`eval_dataset_name` is {self.eval_dataset_name!r} and `eval_datasets` is set, too: name all datasets "
                "of evaluations in eval_datasets"
            )

    def named(self) -> dict[str, "DataArguments"]:
        """Return the arguments of every dataset by name, first those of the top level, whose name is `train`."""
        if BASE_DATA in (self.datasets or {}):
            raise ValueError(f"`datasets` names a dataset {BASE_DATA!r}, which is the top level's: choose another name")
        base = self._alone()
        return {BASE_DATA: base, **_several(base, "datasets", self.datasets or {})}

    def evaluated(self) -> dict[str, "DataArguments"]:
        """Return the arguments of every evaluation dataset by name: those of training, with the keys that differ."""
        own = {name: value for name in EVAL_KEYS if (value := getattr(self, f"eval_{name}")) is not None}
        base = replace(self._alone(), **own)
        if self.eval_datasets:
            return _several(base, "eval_datasets", self.eval_datasets)
        return {EVAL_DATA: base} if own else {}

    def _alone(self) -> "DataArguments":
        """Return the arguments of the training dataset of the top level alone."""
        return replace(self, datasets=None, eval_datasets=None, **{f"eval_{name}": None for name in EVAL_KEYS})


def _several(base: DataArguments, key: str, named: dict[str, Any]) -> dict[str, DataArguments]:
    """Return the arguments of the datasets that a `key` names, each with the values of `base` that it does not set."""
    known = [f.name for f in fields(DataArguments) if f.name != "datasets" and not f.name.startswith("eval_")]
    found = {}
    for name, values in named.items():
        if not isinstance(values, dict):
            raise ValueError(f"`{key}` has {values!r} for {name!r}: set a mapping, as {_EXAMPLES[key]}")
        for unknown in (each for each in values if each not in known):
            fault = f"an unknown key {unknown!r} for {name!r}{nearest(str(unknown), known)}"
            raise ValueError(f"`{key}` has {fault}: it takes {', '.join(known)}")
        found[name] = replace(base, **_without_the_other(values))
    return found


def _without_the_other(values: dict[str, Any]) -> dict[str, Any]:
    """Return the keys of a dataset, whose template or column takes the place of the other one of the top level."""
    if values.get("prompt_template") is not None:
        return {**_DEFAULTS, **values}
    return {"prompt_template": None, **values} if "prompt_column" in values else values
