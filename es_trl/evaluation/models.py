"""The files of a model, its weights and its tokenizer."""

import functools
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from ..checkpoints.digests import read_weights
from ..trainer.model_folder import UNREADABLE, first_sentence, read_config, read_processor
from .sampling import end_ids


ADAPTER = "adapter_config.json"


@dataclass(frozen=True)
class ModelFiles:
    """
    A model that has not been loaded.

    Args:
        name (`str`):
            A folder or a name on the Hub; the folder of an adapter for an adapter.
        base (`str`):
            The model itself, or the one that an adapter adapts.
        adapter_rank (`int`):
            Rank of the adapter; 0 without one.

    Raises:
        ValueError: from its methods, for files that are missing or cannot be read.
    """

    name: str
    base: str
    adapter_rank: int = 0

    @classmethod
    def of(cls, model: str) -> "ModelFiles":
        """Return the files of a model: a folder, a name on the Hub, or the folder of an adapter."""
        name = os.path.expanduser(model) if model.startswith("~") else model
        adapter = Path(name) / ADAPTER
        if not adapter.is_file():
            read_config("the model", name, None, False)
            return cls(name, name)
        try:
            content = json.loads(adapter.read_text())
            base, rank = content["base_model_name_or_path"], int(content.get("r") or 1)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{adapter} cannot be read ({first_sentence(error)}): save the adapter again") from error
        read_config(f"the base model of the adapter {name}", str(base), None, False)
        return cls(name, str(base), rank)

    @functools.cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The tokenizer, of an adapter's folder if it has one."""
        has_own = self.name == self.base or any(Path(self.name).glob("tokenizer*"))
        processor = read_processor(self.name if has_own else self.base, None, False)
        return getattr(processor, "tokenizer", processor)

    @property
    def positions(self) -> int | None:
        """The number of positions of the model, prompt and completion together; `None` if it has no limit."""
        config = read_config("the model", self.base, None, False).get_text_config()
        return getattr(config, "max_position_embeddings", None)

    @functools.cached_property
    def end_ids(self) -> list[int]:
        """The ids that end a completion."""
        try:
            config = GenerationConfig.from_pretrained(self.base)
        except UNREADABLE:  # a model need not have one
            config = None
        return end_ids(self.tokenizer, config)

    def digest(self) -> str:
        """Return a digest of the weights: of parts of local files, or the commit of a model on the Hub."""
        read = hashlib.sha256()
        for name in dict.fromkeys((self.base, self.name)):
            if not os.path.isdir(name):
                read.update(str(getattr(read_config("the model", name, None, False), "_commit_hash", name)).encode())
                continue
            read_weights(read, Path(name))
        return read.hexdigest()[:16]

    def load(self) -> PreTrainedModel:
        """Return the model with its weights and its adapter: on the GPU if there is one, else in 32 bits on the CPU."""
        device = "cuda" if torch.cuda.is_available() else "cpu"
        options: dict[str, Any] = {"dtype": "auto" if device == "cuda" else torch.float32}
        try:
            with torch.random.fork_rng():  # an adapter draws random weights before its own are read
                model = AutoModelForCausalLM.from_pretrained(self.name, **options)
        except UNREADABLE as error:
            raise ValueError(
                f"the model {self.name} cannot be loaded ({first_sentence(error)}): save it again"
            ) from error
        return model.to(device).eval()
