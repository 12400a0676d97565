"""Attention over a row of segments, so that prompts and completions of all lengths lie in one row without padding.

Every layer but attention computes a token alone, so all tokens of a micro-batch can lie in one row. Attention is then
computed segment by segment, with transformers' own function. A segment sees itself and, if it is a completion, its
prompt, which may serve several completions.
"""

from dataclasses import dataclass
from typing import Any

import torch
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward


@dataclass(frozen=True)
class Segments:
    """
    The segments of a row.

    Args:
        lengths (`list[int]`):
            Tokens of each segment, at least 1.
        prompts (`list[int | None]`):
            For each segment, the number of the segment that it sees before itself; `None` for none.
    """

    lengths: list[int]
    prompts: list[int | None]


def attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    segments: Segments | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """
    Return transformers' SDPA attention, segment by segment where there are segments.

    Args:
        module (`torch.nn.Module`):
            The attention layer.
        query, key, value (`torch.Tensor` of shape `(batch, heads, tokens, size)`):
            As in transformers; with segments, the batch is 1.
        attention_mask (`torch.Tensor`, *optional*):
            Mask of the batch; not read with segments.
        segments ([`Segments`], *optional*):
            The segments of the row.
        kwargs (`Any`):
            Other arguments of transformers' function. `sliding_window` is the number of tokens that a token sees.

    Returns:
        The output of shape `(batch, tokens, heads, size)`, and `None` for the weights.
    """
    if segments is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)
    queries, keys, values = (each.split(segments.lengths, dim=2) for each in (query, key, value))
    outputs = []
    for own, prompt in enumerate(segments.prompts):
        seen = (own,) if prompt is None else (prompt, own)
        k, v = (each[own] if prompt is None else torch.cat([each[s] for s in seen], dim=2) for each in (keys, values))
        mask = _mask(queries[own].shape[2], k.shape[2], kwargs.get("sliding_window"), query.device)
        outputs.append(sdpa_attention_forward(module, queries[own], k, v, mask, **kwargs)[0])
    return torch.cat(outputs, dim=1), None


def _mask(queries: int, keys: int, window: int | None, device: torch.device) -> torch.Tensor | None:
    """Return which keys the last `queries` of them see; `None` where SDPA's own causal mask says the same."""
    if queries == keys and (window is None or keys <= window):
        return None
    sees = torch.ones(queries, keys, dtype=torch.bool, device=device).tril(keys - queries)
    return sees if window is None else sees.triu(keys - queries - window + 1)


AttentionInterface.register("sdpa", attention)
