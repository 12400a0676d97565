"""What the recipe scripts share: strict parsing of YAML and command line, and the run itself."""

import atexit
import os
import re
import sys
import time
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, get_type_hints

import torch
from datasets import Dataset
from trl import ModelConfig, TrlParser, get_peft_config, get_quantization_config

from .checkpoints.run_folder import find_start
from .common.nearest import nearest
from .common.writing import writing
from .config.config import DEFAULT_KINDS, ESGRPOConfig
from .config.field_checks import check_kernels
from .config.values import NESTED, NONE, as_type, kinds_of, read_yaml_text
from .control.geometry import Geometry, check_trains
from .curriculum.datasets import check_enough
from .data.prompts import DataArguments
from .data.reading import is_local
from .hub.push import PushError
from .trainer.trainer import ESGRPOTrainer


HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")


@dataclass
class Recipe:
    """
    A parsed recipe: where the prompts come from, how to train, and which model.

    Args:
        data (`DataArguments`), training (`ESGRPOConfig`), model (`ModelConfig`):
            The configurations.
        given (`dict`):
            What the YAML and the command line set, as a YAML that runs the same.
    """

    data: DataArguments
    training: ESGRPOConfig
    model: ModelConfig
    given: dict[str, Any] = field(default_factory=dict)


class RecipeParser:
    """
    Parser of a recipe's YAML and of the options that override it, `--field value` and `--block.key value`.

    Each configuration is made from what was given alone, so that a method knows what it may set.

    Args:
        training_class (`type`):
            The configuration class of the trainer.
    """

    def __init__(self, training_class: type[ESGRPOConfig] = ESGRPOConfig):
        self._classes = (DataArguments, training_class, ModelConfig)
        self._hints = {
            each.name: get_type_hints(kind)[each.name] for kind in self._classes for each in fields(kind) if each.init
        }

    def parse(self, argv: list[str]) -> Recipe:
        """
        Return a recipe from the command line, with the YAML that its `--config` names.

        Raises:
            ValueError: for a file that is missing or no mapping, an unknown key, or a value out of its range.
        """
        if {"-h", "--help"} & set(argv):
            TrlParser(self._classes).print_help()
            raise SystemExit(0)
        options = _options(argv)
        path = next((values for name, values in reversed(options) if name == "config"), None)
        if path is not None and len(path) != 1:
            raise ValueError(f"the option --config must have one value, got {len(path)}: put a YAML file behind it")
        given = read_yaml(Path(path[0])) if path else {}
        env = given.pop("env", {})
        if not isinstance(env, dict):
            raise ValueError(f"`env` must be a mapping of variables to values, got {env!r}: set for example {{A: 1}}")
        for key, value in given.items():
            if key not in self._hints:
                raise ValueError(f"the recipe has an unknown key {key!r}{nearest(str(key), self._hints)}")
            given[key] = as_type(key, value, self._hints[key])
        in_file = dict(given)
        for name, values in options:
            if name != "config":
                given |= self._option(name, values, given)
        for block in DEFAULT_KINDS:  # an option that takes the file's block away leaves it to the method
            if given.get(block) in NONE and in_file.get(block, "none") not in NONE:
                del given[block]
        os.environ.update({str(name): str(value) for name, value in env.items()})
        made = [kind(**{e.name: given[e.name] for e in fields(kind) if e.name in given}) for kind in self._classes]
        return Recipe(*made, {**given, **({"env": env} if env else {})})

    def _option(self, option: str, values: list[str], given: dict[str, Any]) -> dict[str, Any]:
        """Return what an option sets, by the name of its field; `given` is what was given before it."""
        name, _, key = option.replace("-", "_").partition(".")
        switch_off = name.removeprefix("no_") if not values and name not in self._hints else ""
        if bool in kinds_of(self._hints.get(switch_off)):
            return {switch_off: False}
        if name not in self._hints or (key and name not in NESTED):
            raise ValueError(f"unknown option --{option}{nearest(option, self._hints)}")
        hint, kinds = self._hints[name], kinds_of(self._hints[name])
        if not values and bool in kinds:
            return {name: True}
        if not values:
            raise ValueError(f"the option --{option} has no value: put one behind it")
        if list in kinds and name not in NESTED and (len(values) > 1 or str not in kinds):
            return {name: as_type(name, values, hint)}
        if len(values) > 1:
            raise ValueError(f"the option --{option} must have one value, got {' '.join(values)}: put it in quotes")
        if name not in NESTED:
            is_none = values[0] in NONE and type(None) in kinds and str not in kinds
            return {name: None if is_none else as_type(name, values[0], hint)}
        value = read_yaml_text(f"the value of --{option}", values[0])
        if not key:
            return {name: value}
        whole = given.get(name) or {}
        if not isinstance(whole, dict):
            raise ValueError(f"`{name}` must be a mapping for --{option}, got {whole!r}: set it whole")
        return {name: {**whole, key: value}}


def _options(argv: list[str]) -> list[tuple[str, list[str]]]:
    """Return the options of a command line, each with the words behind it."""
    options: list[tuple[str, list[str]]] = []
    for word in argv:
        if word.startswith("--"):
            name, has_value, text = word[2:].partition("=")
            options.append((name, [text] if has_value else []))
        elif options:
            options[-1][1].append(word)
        else:
            raise ValueError(f"the command line must begin with an option, got {word!r}: put one before it")
    return options


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping in a YAML file."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.reason if isinstance(error, UnicodeDecodeError) else error.strerror
        raise ValueError(f"the recipe {path} cannot be read ({reason}): give --config a YAML file in UTF-8") from error
    config = read_yaml_text(f"the recipe {path}", text)
    if not isinstance(config, dict):
        raise ValueError(f"the recipe {path} must be a mapping of keys to values: write one `key: value` per line")
    return config


def parse_recipe(script: str, argv: list[str] | None = None) -> Recipe:
    """
    Return the recipe of a script: the YAML beside it unless `--config` names another, and overrides of any field.

    Args:
        script (`str`):
            `__file__` of the script.
        argv (`list[str]`, *optional*):
            The command line behind the script's name.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    if not any(word == "--config" or word.startswith("--config=") for word in argv):
        argv = ["--config", str(Path(script).with_suffix(".yaml")), *argv]
    return RecipeParser().parse(argv)


def train(recipe: Recipe, dataset: Dataset | dict[str, Dataset], reward_funcs: Any) -> ESGRPOTrainer:
    """
    Run a recipe: train, save the model, and push it where the recipe says so.

    Args:
        recipe (`Recipe`):
            What to run.
        dataset (`Dataset` or `dict[str, Dataset]`):
            Rows with `prompt` and the columns that the reward reads; several by name for the stages of a curriculum.
        reward_funcs (reward function or list of them):
            As in `GRPOTrainer`.

    Returns:
        `ESGRPOTrainer`: the trainer, after training.

    Raises:
        SystemExit: where the last push fails, with what to do; the model is saved then.
    """
    training, model = recipe.training, recipe.model
    check_trains(training)
    check_kernels(training)
    if not isinstance(dataset, dict):
        check_enough(dataset, Geometry.of(training).prompts)
    resume = _resume(training.resume_from_checkpoint)
    find_start(resume, Path(training.output_dir), measure=False)  # refused before the model loads
    from_model_args = {
        "revision": model.model_revision,
        "attn_implementation": model.attn_implementation,
        "dtype": model.dtype,
    }
    training.model_init_kwargs = {**from_model_args, **(training.model_init_kwargs or {})}
    trainer = ESGRPOTrainer(
        model=model.model_name_or_path,
        reward_funcs=reward_funcs,
        args=training,
        train_dataset=dataset,
        quantization_config=get_quantization_config(model),
        peft_config=get_peft_config(model),
        recipe=recipe.given,
    )
    trainer.train(resume_from_checkpoint=resume)
    if trainer.was_finished and _has_model(Path(training.output_dir)):
        return trainer
    with writing(training.output_dir, "the model"):
        # a call from outside would push before the next line
        trainer.save_model(training.output_dir, _internal_call=True)
    trainer.accelerator.print(f"model, card and history are in {training.output_dir}")
    if torch.distributed.is_initialized() and torch.distributed.get_backend() == "gloo":
        # gloo's worker threads may drop their last tensor while Python ends, which aborts it (pytorch/pytorch#179291)
        atexit.register(time.sleep, 0.3)
    if training.push_to_hub:
        _push(trainer, recipe.data.dataset_name)
    return trainer


def _resume(value: str | bool | None) -> str | bool | None:
    """Return `resume_from_checkpoint`, which a command line gives as text, as `train` takes it."""
    return {"true": True, "false": None}.get(str(value).lower(), value)


def _has_model(folder: Path) -> bool:
    """Return whether a run has saved its model at its end; one that was killed just before has not."""
    return any((folder / name).exists() for name in ("config.json", "adapter_config.json"))


def _push(trainer: ESGRPOTrainer, dataset_name: str | None) -> None:
    """Push for the last time, after which the Hub has everything, or end the run with what to do about it."""
    # the Hub takes no card that names a data set it has not
    on_hub = dataset_name is not None and not is_local(dataset_name) and HUB_NAME.fullmatch(dataset_name)
    try:
        trainer.push_to_hub(dataset_name=dataset_name if on_hub else None)
    except PushError as error:
        raise SystemExit(f"error: {error}") from error
    missed = ", ".join(map(str, sorted(trainer.missed_pushes)))
    earlier = f"; pushes of earlier saves were missed, at update {missed}" if missed else ""
    trainer.accelerator.print(f"and on the Hub, as {trainer.hub_model_id}{earlier}")
