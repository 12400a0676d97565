"""What the recipe scripts share: strict parsing of YAML and command line, and the run itself."""

import atexit
import contextlib
import json
import re
import sys
import time
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import UnionType
from typing import Any, NoReturn, Union, get_args, get_origin, get_type_hints

import torch
import yaml
from datasets import Dataset
from trl import ModelConfig, TrlParser, get_peft_config, get_quantization_config

from .checkpoints.run_folder import find_start
from .common.nearest import nearest
from .common.writing import writing
from .config.config import ESGRPOConfig
from .config.field_checks import check_kernels
from .config.yaml_types import NESTED, check_type, unquoted
from .control.geometry import Geometry, check_trains
from .curriculum.datasets import check_enough
from .data.prompts import DataArguments
from .data.reading import is_local
from .hub.push import PushError
from .trainer.trainer import ESGRPOTrainer


HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")
UNIONS = (Union, UnionType)


@dataclass
class Recipe:
    """
    A parsed recipe.

    Args:
        data (`DataArguments`):
            Where the prompts come from.
        training (`ESGRPOConfig`):
            How to train.
        model (`ModelConfig`):
            Which model, and its adapter.
        given (`dict`):
            What the YAML and the command line set, as a YAML that runs the same.
    """

    data: DataArguments
    training: ESGRPOConfig
    model: ModelConfig
    given: dict[str, Any] = field(default_factory=dict)


class RecipeParser(TrlParser):
    """
    [`~trl.TrlParser`] that refuses an unknown key with the nearest known one, and takes `--block.key value`.

    Args:
        training_class (`type`):
            The configuration class of the trainer.
    """

    def __init__(self, training_class: type[ESGRPOConfig] = ESGRPOConfig):
        super().__init__((DataArguments, training_class, ModelConfig))
        self._types = {
            name: hint
            for parts in (DataArguments, training_class, ModelConfig)
            for name, hint in get_type_hints(parts).items()
            if name in {f.name for f in fields(parts)}
        }
        self._known = list(self._types)

    def parse(self, argv: list[str]) -> Recipe:
        """
        A recipe from the command line, with the YAML that its `--config` names.

        Raises:
            ValueError: for a file that is missing or no mapping, an unknown key, or a value out of its range.
        """
        argv = [part for word in argv for part in (word.split("=", 1) if word.startswith("--config=") else [word])]
        config: dict[str, Any] = {}
        if "--config" in argv:
            if argv[-1] == "--config":
                raise ValueError("the option --config has no value: put a YAML file behind it")
            config = read_yaml(Path(argv[argv.index("--config") + 1]))
        for key, value in config.items():
            if key not in self._known and key != "env":
                raise ValueError(f"the recipe has an unknown key {key!r}{nearest(str(key), self._known)}")
            check_type(key, value, self._kinds(key))
        argv = self._join_blocks(argv, config)
        parsed = self.parse_args_and_config(argv)
        return Recipe(*parsed, {**self._unquoted(config), **self._overrides(argv)})

    def _kinds(self, key: str) -> set[type]:
        """The types that a field may have, without what they hold."""
        hint = self._types.get(key, dict)
        return {get_origin(kind) or kind for kind in (get_args(hint) if get_origin(hint) in UNIONS else (hint,))}

    def set_defaults_with_config(self, **kwargs: Any) -> list[str]:
        return super().set_defaults_with_config(**self._unquoted(kwargs))

    def _unquoted(self, config: dict[str, Any]) -> dict[str, Any]:
        return {key: unquoted(value, self._kinds(key)) for key, value in config.items()}

    def error(self, message: str) -> NoReturn:
        # argparse would print the usage, hundreds of lines, and exit
        raise ValueError(f"the recipe cannot be read: {message.rstrip('.')}: correct it")

    def _join_blocks(self, argv: list[str], config: dict[str, Any]) -> list[str]:
        """Turn `--entropy_schedule.end 0.1` into the whole block as one argument; refuse unknown options."""
        joined: list[str] = []
        blocks: dict[str, Any] = {}
        words = iter(argv)
        for word in words:
            option, _, inline = word.partition("=")
            block, _, key = option.removeprefix("--").replace("-", "_").partition(".")
            if not word.startswith("--") or word == "--config":
                joined.append(word)
            elif block in NESTED:
                text = inline or next(words, None)
                if text is None:
                    raise ValueError(f"the option {option} has no value: put one behind it")
                value = _load_yaml(text, f"the value of {option}")
                if key:
                    whole = blocks.setdefault(block, config.get(block) or {})
                    if not isinstance(whole, dict):
                        raise ValueError(f"{option} sets one key of `{block}`, which is {whole!r} and no mapping")
                    blocks[block] = {**whole, key: value}
                else:
                    blocks[block] = value
            elif option not in self._option_string_actions:
                raise ValueError(f"unknown option {option}{nearest(option[2:], self._known)}")
            else:
                joined.append(word)
        for block, value in blocks.items():
            joined += [
                f"--{block}",
                json.dumps(value, default=str) if isinstance(value, dict | list) else str(value).lower(),
            ]
        return joined

    def _overrides(self, argv: list[str]) -> dict[str, Any]:
        """What a command line sets, as the values that a YAML would have."""
        words: dict[str, list[str]] = {}
        for word in argv:
            if word.startswith("--"):
                option, has_value, text = word[2:].partition("=")
                option = option.replace("-", "_")
                words[option] = values = [text] if has_value else []
            else:
                values.append(word)
        words.pop("config", None)
        overrides: dict[str, Any] = {}
        for option, texts in words.items():
            if option not in self._known:  # argparse has a `--no_` for what is true by default
                option, texts = option.removeprefix("no_"), ["false"]
            kinds = self._kinds(option)
            if option in NESTED:
                values = [yaml.safe_load(text) for text in texts]
            else:
                values = [text if kinds <= {str, type(None)} else _plain(text) for text in texts or ["true"]]
            is_list = list in kinds and str not in kinds
            overrides[option] = values if is_list or len(values) > 1 else values[0]
        return overrides


def _plain(text: str) -> Any:
    """The number or truth value that a word of a command line stands for, or the word."""
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    return {"true": True, "false": False}.get(text.lower(), text)


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file."""
    if not path.is_file():
        wrong = "is a folder" if path.is_dir() else "does not exist"
        raise ValueError(f"the recipe {path} {wrong}: give --config a YAML file")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"the recipe {path} is not UTF-8 text ({error.reason}): save it as UTF-8") from error
    except OSError as error:
        raise ValueError(f"the recipe {path} cannot be read ({error.strerror}): give one that can") from error
    config = _load_yaml(text, f"the recipe {path}")
    if not isinstance(config, dict):
        raise ValueError(f"the recipe {path} is no mapping of keys to values: write one `key: value` a line")
    return config


def _load_yaml(text: str, what: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"{what} is not valid YAML: {' '.join(str(error).split())}") from None


def parse_recipe(script: str, argv: list[str] | None = None) -> Recipe:
    """
    The recipe of a script: the YAML beside it unless `--config` names another, and overrides of any field.

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
        # gloo's worker thread may drop its last tensor while Python finalises, which aborts the process (seen in
        # torch 2.13 on Python 3.11); give it the time to finish.
        atexit.register(time.sleep, 0.3)
    if training.push_to_hub:
        _push(trainer, recipe.data.dataset_name)
    return trainer


def _resume(value: str | bool | None) -> str | bool | None:
    """What `resume_from_checkpoint` means, which a command line gives as text."""
    return {"true": True, "false": None}.get(str(value).lower(), value)


def _has_model(folder: Path) -> bool:
    """Whether a run has saved its model at its end: a run that was killed just before has not."""
    return any((folder / name).exists() for name in ("config.json", "adapter_config.json"))


def _push(trainer: ESGRPOTrainer, dataset_name: str | None) -> None:
    """The last push, after which the Hub has everything, or the run ends with what to do about it."""
    # the Hub takes no card that names a data set it has not
    on_hub = dataset_name is not None and not is_local(dataset_name) and HUB_NAME.fullmatch(dataset_name)
    try:
        trainer.push_to_hub(dataset_name=dataset_name if on_hub else None)
    except PushError as error:
        raise SystemExit(f"error: {error}") from error
    missed = ", ".join(map(str, sorted(trainer.missed_pushes)))
    earlier = f"; pushes of earlier saves were missed, at update {missed}" if missed else ""
    trainer.accelerator.print(f"and on the Hub, as {trainer.hub_model_id}{earlier}")
