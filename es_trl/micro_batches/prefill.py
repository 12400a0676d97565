"""The beginning of a generation: the completions of a prompt compute the prompt once."""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from transformers import DynamicCache

from .rows import distinct


@contextlib.contextmanager
def prompts_once(backbone: torch.nn.Module) -> Iterator[None]:
    """
    Let generations in this block compute each prompt once, without its last token, and hand its keys and values on.

    The logits of the first token are the same up to rounding, and the same random numbers are drawn. Other caches than
    a `DynamicCache` are left to transformers.
    """
    handle = backbone.register_forward_pre_hook(_prefilled, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


def _prefilled(backbone: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Return the inputs of a first forward pass without the tokens whose keys and values it puts into the cache."""
    ids, mask, cache = (kwargs.get(name) for name in ("input_ids", "attention_mask", "past_key_values"))
    begins = type(cache) is DynamicCache and cache.get_seq_length() == 0 and not args
    if not begins or ids is None or ids.shape[1] < 2 or mask is None or mask.shape != ids.shape:
        return None
    prompts, of_prompt = distinct(ids, mask)
    if len(prompts) == len(ids):
        return None
    first = torch.empty(len(prompts), dtype=torch.long, device=ids.device)
    first[of_prompt] = torch.arange(len(ids), device=ids.device)  # a row of each prompt
    columns = {name: kwargs[name] for name in ("input_ids", "attention_mask", "position_ids") if name in kwargs}
    prefix = {name: value.expand(len(ids), -1)[first, :-1] for name, value in columns.items() if value is not None}
    backbone.forward(**{**kwargs, **prefix})
    cache.batch_select_indices(of_prompt)
    last = {name: value[:, -1:] for name, value in columns.items() if name != "attention_mask" and value is not None}
    return args, {**kwargs, **last}
