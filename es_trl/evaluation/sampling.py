"""Completions by transformers."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from ..common.temporarily import temporarily
from ..micro_batches.prefill import prompts_once


@dataclass(frozen=True)
class Sampling:
    """How completions are sampled; the fields are those of [`EvaluationSettings`]."""

    temperature: float = 1.0
    top_p: float = 1.0
    max_new_tokens: int = 256


@dataclass(frozen=True)
class Completion:
    """A completion: its token ids with the end token, its text, and whether the limit of tokens has cut it."""

    ids: list[int]
    text: str
    truncated: bool


class Sampler(Protocol):
    """Makes completions."""

    def sample(self, prompts: list[list[int]], number: int, seed: int) -> list[Completion]:
        """Return `number` completions of each prompt (token ids), those of a prompt in a row."""
        ...


def end_ids(tokenizer: PreTrainedTokenizerBase, config: GenerationConfig | None) -> list[int]:
    """Return the ids that end a completion, as TRL has them: of the tokenizer and the configuration."""
    configured = getattr(config, "eos_token_id", None)
    ids = [configured] if isinstance(configured, int) else list(configured or [])
    own = tokenizer.eos_token_id
    return ids if own is None or own in ids else [own, *ids]


class TransformersSampler:
    """
    Sampler of a model in memory. The random state of torch is as before, also after an error.

    Args:
        model (`PreTrainedModel`), tokenizer (`PreTrainedTokenizerBase`):
            The model, whose mode of training is as before afterwards, and its tokenizer.
        sampling (`Sampling`):
            How to sample.
    """

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, sampling: Sampling):
        self._model, self._tokenizer = model, tokenizer
        self._ends = end_ids(tokenizer, model.generation_config)
        self._pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else (self._ends or [0])[0]
        draws = {"temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": 0}
        # no field is left to the model's own generation_config, which may have a penalty, for example
        self._config = GenerationConfig(
            max_new_tokens=sampling.max_new_tokens,
            do_sample=sampling.temperature > 0,
            pad_token_id=self._pad,
            eos_token_id=self._ends or None,
            **(draws if sampling.temperature > 0 else {}),
        )

    @torch.no_grad()
    def sample(self, prompts: list[list[int]], number: int, seed: int) -> list[Completion]:
        """Return `number` completions of each prompt (token ids), those of a prompt in a row."""
        model, device = self._model, self._model.device
        rows = [torch.tensor(ids) for ids in prompts for _ in range(number)]
        ids = pad_sequence(rows, batch_first=True, padding_value=self._pad, padding_side="left").to(device)
        masks = [torch.ones_like(row) for row in rows]
        mask = pad_sequence(masks, batch_first=True, padding_side="left").to(device)
        was_training = model.training
        model.eval()
        try:
            with (
                torch.random.fork_rng([device] if device.type == "cuda" else []),
                temporarily(model, generation_config=self._config),
                prompts_once(model.base_model),
            ):
                torch.manual_seed(seed)
                made = model.generate(input_ids=ids, attention_mask=mask)
        except torch.OutOfMemoryError as error:
            size = f"{len(rows)} completions at once do not fit into the memory of the GPU"
            raise ValueError(f"{size}: set a smaller --batch_size, and another --output_dir") from error
        finally:
            model.train(was_training)
        return completions_of(made[:, ids.shape[1] :].tolist(), self._ends, self._tokenizer)


def completions_of(made: Iterable[list[int]], ends: list[int], tokenizer: PreTrainedTokenizerBase) -> list[Completion]:
    """Return completions from the token ids that a model wrote, each up to its first end token."""
    completions = []
    for ids in made:
        stop = next((place for place, token in enumerate(ids) if token in ends), None)
        own = ids if stop is None else ids[: stop + 1]
        completions.append(Completion(own, tokenizer.decode(own, skip_special_tokens=True), stop is None))
    return completions
