"""Checks of the model's folder or name, its tokenizer and its chat template, made before the weights load."""

import json
import os
import re
from pathlib import Path
from typing import Any

import torch
import transformers
from accelerate.utils import is_peft_model
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id
from safetensors import SafetensorError, safe_open
from transformers import AutoConfig, AutoProcessor, PreTrainedConfig, PreTrainedTokenizerBase, ProcessorMixin
from trl import GRPOConfig
from trl.trainer.utils import get_config_model_id

from ..checkpoints.digests import WEIGHTS


# transformers raises these
UNREADABLE = (OSError, ValueError, TypeError, KeyError, ImportError, AttributeError, SafetensorError)


def check_model(model: Any, processing_class: Any, has_chats: bool, args: GRPOConfig) -> None:
    """
    Raise unless TRL will find the model, its tokenizer and, for chats, its chat template.

    Args:
        model (`str` or `PreTrainedModel`):
            A folder, a name on the Hub, or the model itself.
        processing_class (tokenizer or processor, *optional*):
            The trainer's tokenizer; `None` for that of the model.
        has_chats (`bool`):
            Whether the prompts are lists of messages, which need a chat template.
        args (`GRPOConfig`):
            The configuration, for the options with which the model loads.
    """
    revision = (args.model_init_kwargs or {}).get("revision")
    if isinstance(model, str):
        config = read_config("the model", model, revision, args.trust_remote_code)
        _check_architecture(model, config)
        if Path(model).is_dir():
            check_weights(Path(model), (args.model_init_kwargs or {}).get("subfolder", ""))
        name = model
    elif isinstance(model, torch.nn.Module):
        name = get_config_model_id(getattr(model, "config", None))
        if args.beta != 0.0 and not name and not is_peft_model(model):
            raise ValueError(
                f"`beta` is {args.beta} but the model has no folder or name from which the reference model can be "
                "loaded: give the model's folder as text, or set `beta` to 0"
            )
    else:
        raise ValueError(
            f"`model` must be a folder or a name as text, or a PreTrainedModel, got {model!r}: set it, in a recipe "
            "with `model_name_or_path`"
        )
    if processing_class is None:
        processing_class = read_processor(name, revision, args.trust_remote_code)
    if not isinstance(processing_class, PreTrainedTokenizerBase | ProcessorMixin):
        raise ValueError(
            f"`processing_class` must be a tokenizer or a processor, got {type(processing_class).__name__}: set "
            "AutoTokenizer.from_pretrained(...)"
        )
    if has_chats and not processing_class.chat_template:
        raise ValueError(
            f"the prompts are chats but the tokenizer of {name or 'the model'} has no chat template: set "
            "`prompt_format: text` in the recipe to use plain text, or take a model with a chat template (in Python, "
            "give a `processing_class` that has one)"
        )


def check_local_model(name: str | None, has_chats: bool, args: Any) -> None:
    """
    Raise as [`check_model`] for the model of a recipe that is planned, unless the Hub would have to be asked.

    A folder with a config.json alone, without weights, is enough for a plan.
    """
    if name is None:
        raise ValueError("`model_name_or_path` must be set: name a model on the Hub, or the folder of a saved model")
    if not Path(name).is_dir():
        _check_name("the model", name)
    elif any(path for pattern in WEIGHTS for path in Path(name).glob(pattern)):
        check_model(name, None, has_chats, args)
    else:
        read_config("the model", name, None, args.trust_remote_code)


def read_config(what: str, name: str, revision: str | None, trust_remote_code: bool) -> PreTrainedConfig:
    """Return the configuration of a model's folder or name on the Hub; `what` names the model in errors."""
    folder, is_folder = Path(name), os.path.isdir(name)  # Path("") would be the present folder
    if is_folder and not (folder / "config.json").is_file():
        if (folder / "adapter_config.json").is_file():
            advice = "give the base model's name, or a PeftModel with base model and adapter"
            raise ValueError(f"{what} is {name!r}, the folder of an adapter without its base model: {advice}")
        raise ValueError(f"{what} is {name!r}, a folder without a config.json: give the folder of a saved model")
    if not is_folder:
        _check_name(what, name)
    try:
        return AutoConfig.from_pretrained(name, revision=revision, trust_remote_code=trust_remote_code)
    except UNREADABLE as error:
        said = first_sentence(error)
        problem = f"whose config.json cannot be read ({said}): save the model again"
        if not is_folder:
            problem = (
                f"which is not a folder and cannot be read from the Hub ({said}): check its spelling, or give the "
                "folder of a saved model"
            )
        raise ValueError(f"{what} is {name!r}, {problem}") from error


def first_sentence(error: BaseException) -> str:
    """Return the first sentence of an error without its full stop, or the type of an error without a message."""
    line = next(iter(str(error).strip().splitlines()), type(error).__name__)
    return re.split(r"\.\s+(?=[A-Z])", line)[0].rstrip(".")


def _check_name(what: str, name: str) -> None:
    """Raise where `name` is not a valid name on the Hub."""
    try:
        validate_repo_id(name)
    except HFValidationError:
        kind = "a file" if Path(name).is_file() else "a folder that does not exist"
        raise ValueError(f"{what} is {name!r}, which is {kind}: give the folder of a saved model") from None


def _check_architecture(name: str, config: PreTrainedConfig) -> None:
    if not config.architectures:
        raise ValueError(f"the config.json of {name} has no `architectures`: save the model with save_pretrained")
    kind = getattr(transformers, config.architectures[0], None)
    if kind is not None and not kind.can_generate():
        raise ValueError(
            f"the model {name} is a {config.architectures[0]}, which cannot generate text: give a causal language model"
        )


def check_weights(folder: Path, subfolder: str = "") -> None:
    """Raise unless a folder has weights, and those that load are there and, as safetensors, whole."""
    found = [path for pattern in WEIGHTS for path in (folder / subfolder).glob(pattern)]
    if not found:
        raise ValueError(f"the model's folder {folder} has no weights: put model.safetensors into it")
    loaded: list[Path] = []
    for index in (path for path in found if path.name.endswith(".index.json")):
        try:
            shards = set(json.loads(index.read_text())["weight_map"].values())
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"the weight index {index} cannot be read ({first_sentence(error)}): save the model again"
            ) from error
        lacking = sorted(shard for shard in shards if not (index.parent / shard).is_file())
        if lacking:
            raise ValueError(f"the model's folder {folder} lacks {', '.join(lacking)}: copy the missing files there")
        loaded += [index.parent / shard for shard in sorted(shards)]
    single = folder / subfolder / "model.safetensors"  # which wins over an index
    for path in [single] if single in found else [path for path in loaded if path.suffix == ".safetensors"]:
        try:
            with safe_open(path, "pt"):  # it compares the header with the size of the file
                pass
        except (SafetensorError, OSError) as error:
            raise ValueError(
                f"the weights {path} cannot be read ({first_sentence(error)}): copy or save the file again"
            ) from error


def read_processor(name: str, revision: str | None, trust_remote_code: bool) -> Any:
    """Return the tokenizer or processor of a model's folder or name on the Hub."""
    advice = "give a `processing_class`, or put the files of the tokenizer into the model's folder"
    if not name:
        raise ValueError(f"the model has no name by which its tokenizer can be found: {advice}")
    try:
        processor = AutoProcessor.from_pretrained(name, revision=revision, trust_remote_code=trust_remote_code)
    except UNREADABLE as error:
        raise ValueError(f"the tokenizer of {name} cannot be read ({first_sentence(error)}): {advice}") from error
    tokenizer = getattr(processor, "tokenizer", processor)
    # transformers builds an empty tokenizer where the files are missing
    if isinstance(tokenizer, PreTrainedTokenizerBase) and set(tokenizer.get_vocab()) <= {*tokenizer.all_special_tokens}:
        raise ValueError(f"{name} has no tokenizer: {advice}")
    return processor
