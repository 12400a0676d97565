"""The recipe of a run: strict parsing of its YAML and of the options that override it."""

import os
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, get_type_hints

import torch
from trl import ModelConfig, TrlParser

from .common.nearest import nearest
from .config.config import DEFAULT_KINDS, ESGRPOConfig
from .config.values import NESTED, NONE, as_type, kinds_of, read_yaml_text
from .data.arguments import DataArguments
from .data.tasks import Task
from .rewards.named import RewardArguments


# options of a launch that people write behind the recipe
_LAUNCH = ("num_processes", "num_machines", "machine_rank", "main_process_ip", "main_process_port", "config_file")


@dataclass
class Recipe:
    """
    A parsed recipe: where the prompts come from, how to train, which model, and which rewards.

    Args:
        data (`DataArguments`), training (`ESGRPOConfig`), model (`ModelConfig`), reward (`RewardArguments`):
            The configurations.
        given (`dict`):
            The keys that the YAML and the command line set, as a YAML that runs the same.
    """

    data: DataArguments
    training: ESGRPOConfig
    model: ModelConfig
    reward: RewardArguments
    given: dict[str, Any] = field(default_factory=dict)

    @property
    def task(self) -> Task | None:
        """The rewards and the datasets that they read, or `None` where the recipe names no reward."""
        return Task(self.reward.names, self.training.seed) if self.reward.names else None


class RecipeParser:
    """
    Parser of a recipe's YAML and of the options that override it, `--field value` and `--block.key value`.

    Each configuration is made from what was given alone, so that a method knows what it may set.

    Args:
        training_class (`type`):
            The configuration class of the trainer.
    """

    def __init__(self, training_class: type[ESGRPOConfig] = ESGRPOConfig):
        self._classes = (DataArguments, training_class, ModelConfig, RewardArguments)
        self._hints = {
            each.name: get_type_hints(kind)[each.name] for kind in self._classes for each in fields(kind) if each.init
        }

    def parse(self, argv: list[str], reward: str | None = None) -> Recipe:
        """
        Return a recipe from the command line, with the YAML that its `--config` names.

        Args:
            argv (`list[str]`):
                Options, for example `["--config", "my_recipe.yaml", "--max_steps", "16"]`.
            reward (`str`, *optional*):
                The reward where the recipe names none.

        Raises:
            ValueError: for a file that is missing or no mapping, an unknown key, or a value out of its range.
        """
        if {"-h", "--help"} & set(argv):
            TrlParser(self._classes).print_help()
            raise SystemExit(0)
        options = _options(argv)
        given = read_yaml(path) if (path := _config_of(options)) else {}
        env = given.pop("env", {})
        names_variables = isinstance(env, dict) and all(_is_variable(*each) for each in env.items())
        if not names_variables:
            raise ValueError(f"`env` must be a mapping of variables to values, got {env!r}: set for example {{A: 1}}")
        for key, value in given.items():
            if key not in self._hints:
                raise ValueError(f"the recipe has an unknown key {key!r}{nearest(str(key), self._hints)}")
            given[key] = as_type(key, value, self._hints[key])
        in_file = dict(given)
        for place, (name, values) in enumerate(options):
            is_list = list in kinds_of(self._hints.get(name)) and name not in NESTED
            if is_list and name in (other for other, _ in options[:place]):
                raise ValueError(f"the option --{name} is given twice: write it once, with spaces between its items")
            if name != "config":
                given |= self._option(name, values, given)
        for block in DEFAULT_KINDS:  # an option that takes the file's block away leaves it to the method
            if given.get(block) in NONE and in_file.get(block, "none") not in NONE:
                del given[block]
        if given.get("output_dir") == "":
            raise ValueError("`output_dir` must be the name of a folder, got '': set for example runs/mine")
        if reward is not None:
            given.setdefault("reward", reward)
        _set_environment({str(name): str(value) for name, value in env.items()})
        made = [kind(**{e.name: given[e.name] for e in fields(kind) if e.name in given}) for kind in self._classes]
        recipe = Recipe(*made, given={**given, **({"env": env} if env else {})})
        name = recipe.model.model_name_or_path
        if name is None and recipe.task is not None:
            recipe.model.model_name_or_path = recipe.task.default_model
        elif name is not None and name.startswith("~"):
            recipe.model.model_name_or_path = os.path.expanduser(name)
        return recipe

    def _option(self, option: str, values: list[str], given: dict[str, Any]) -> dict[str, Any]:
        """Return what an option sets, by the name of its field; `given` is what was given before it."""
        name, _, key = option.replace("-", "_").partition(".")
        switch_off = name.removeprefix("no_") if not values and name not in self._hints else ""
        if bool in kinds_of(self._hints.get(switch_off)):
            return {switch_off: False}
        if name not in self._hints or (key and name not in NESTED):
            if name in _LAUNCH:
                raise ValueError(f"--{option} is an option of `accelerate launch`: write it before the script or -m")
            raise ValueError(f"unknown option --{option}{nearest(option, self._hints)}")
        hint, kinds = self._hints[name], kinds_of(self._hints[name])
        if not values and bool in kinds:
            return {name: True}
        if not values:
            raise ValueError(f"the option --{option} has no value: write one after it")
        if name not in NESTED and values in ([word] for word in NONE) and type(None) in kinds and str not in kinds:
            return {name: None}
        if not key and list in kinds and len(values) == 1 and values[0].startswith("["):  # a list as YAML writes it
            return {name: as_type(name, read_yaml_text(f"the value of --{option}", values[0]), hint)}
        if list in kinds and name not in NESTED and (len(values) > 1 or str not in kinds):
            return {name: as_type(name, values, hint)}
        if len(values) > 1:
            raise ValueError(f"the option --{option} must have one value, got {' '.join(values)}: put it in quotes")
        if name not in NESTED:
            return {name: as_type(name, values[0], hint)}
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


def _config_of(options: list[tuple[str, list[str]]]) -> Path | None:
    """Return the YAML file that the options name, at most one."""
    named = [values for name, values in options if name == "config"]
    for values in named:
        if len(values) != 1:
            raise ValueError(f"the option --config must have one value, got {len(values)}: write a YAML file after it")
    if len(named) > 1:
        raise ValueError(f"the recipe must be one YAML file, got {' '.join(sum(named, []))}: name one")
    return Path(named[0][0]) if named else None


def _is_variable(name: Any, value: Any) -> bool:
    """Return whether an environment can hold a variable of this name with this value."""
    if not isinstance(name, str) or not isinstance(value, str | int | float):
        return False
    return name != "" and "=" not in name and "\0" not in f"{name}{value}"


def _set_environment(env: dict[str, str]) -> None:
    """Set the variables of a recipe; torch, which is loaded by now, does not see its own one."""
    os.environ.update(env)
    threads = env.get("OMP_NUM_THREADS", "")
    if threads.isdecimal() and int(threads):
        torch.set_num_threads(int(threads))


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping in a YAML file."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.reason if isinstance(error, UnicodeDecodeError) else error.strerror
        raise ValueError(f"the recipe {path} cannot be read ({reason}): name a YAML file in UTF-8") from error
    config = read_yaml_text(f"the recipe {path}", text)
    if not isinstance(config, dict):
        raise ValueError(f"the recipe {path} must be a mapping of keys to values: write one `key: value` per line")
    return config
