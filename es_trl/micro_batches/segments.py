"""Attention over a row of segments, so that prompts and completions of all lengths lie in one row without padding.

Every layer but attention computes a token alone, so all tokens of a micro-batch can lie in one row. Attention is
computed with transformers' own function, for segments of about the same length together. A segment sees itself and, if
it is a completion, its prompt, which may serve several completions.
"""

import contextlib
import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import AttentionInterface
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS


_PLAIN = ALL_ATTENTION_FUNCTIONS["sdpa"]  # transformers' own function, or one that was registered before
_WITH_CUDNN = "cuda"  # kind of device


@dataclass(frozen=True)
class Group:
    """
    Segments that lie behind each other and are padded to one length for attention.

    Args:
        count (`int`):
            Number of segments.
        length (`int`):
            Tokens of each with padding, at least 1.
        prompts (`int`, *optional*):
            Number of the group of prompts that the segments see before themselves; `None` for none. Prompts that are
            seen have no padding.
        chosen (`torch.Tensor` of shape `(count,)`, *optional*):
            Position in that group of each segment's prompt.
    """

    count: int
    length: int
    prompts: int | None = None
    chosen: torch.Tensor | None = None


@dataclass(frozen=True)
class Segments:
    """
    The segments of a row.

    Args:
        groups (`tuple[Group, ...]`):
            The groups in their order.
        padded (`torch.Tensor` of shape `(padded tokens,)`):
            For each token of the groups with padding, its position in the row. Padding repeats the last token of a
            segment, which no token before it sees.
        real (`torch.Tensor` of shape `(tokens,)`):
            For each token of the row, its position among the padded ones.
        masks (`dict`, *optional*):
            The masks of the groups, which the first layer makes for all.
    """

    groups: tuple[Group, ...]
    padded: torch.Tensor
    real: torch.Tensor
    masks: dict[Any, torch.Tensor] = field(default_factory=dict)


def segments_of(lengths: torch.Tensor, groups: Sequence[Group]) -> Segments:
    """Return the segments with the given `lengths`, which belong to `groups` in their order."""
    device = lengths.device
    counts = torch.tensor([group.count for group in groups], device=device)
    widths = torch.tensor([group.length for group in groups], device=device).repeat_interleave(counts)
    starts, padded_starts = lengths.cumsum(0) - lengths, widths.cumsum(0) - widths
    within = torch.arange(int(widths.sum()), device=device) - padded_starts.repeat_interleave(widths)
    padded = starts.repeat_interleave(widths) + torch.minimum(within, lengths.repeat_interleave(widths) - 1)
    shift = (padded_starts - starts).repeat_interleave(lengths)
    return Segments(tuple(groups), padded, torch.arange(len(shift), device=device) + shift)


def no_mask(device: torch.device | None = None) -> torch.Tensor:
    """
    Return the mask that goes with segments, `(1, 1, 0, 0)`.

    A mask with four dimensions is used as it is, so that transformers builds none for all pairs of tokens. This one
    fits no attention: a layer that does not get the segments fails, and does not mix them.
    """
    return torch.ones(1, 1, 0, 0, dtype=torch.bool, device=device)


class _Reached(Exception):
    pass


def _reach(*args: Any, **kwargs: Any) -> None:
    raise _Reached(kwargs)


def hands_on(backbone: torch.nn.Module, name: str) -> bool:
    """Return whether a model without its head hands the argument `name` on to its attention; no weights are used."""
    config = copy.deepcopy(backbone.config)
    config._attn_implementation = _reach.__name__
    try:
        with torch.device("meta"):
            ids = torch.zeros(1, 3, dtype=torch.long)
            inputs = {"input_ids": ids, "position_ids": ids, "segments": object(), "attention_mask": no_mask()}
            type(backbone)(config)(**inputs, use_cache=False)
    except _Reached as reached:
        return reached.args[0].get(name) is inputs[name]
    except Exception:  # whatever stops the call, it has not reached transformers' attention
        return False
    return False


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
    Return transformers' SDPA attention, group by group where there are segments.

    Args:
        module (`torch.nn.Module`):
            The attention layer.
        query, key, value (`torch.Tensor` of shape `(batch, heads, tokens, size)`):
            As in transformers; with segments, the batch is 1.
        attention_mask (`torch.Tensor`, *optional*):
            Mask of the batch; not read with segments.
        segments (`Segments`, *optional*):
            The segments of the row.
        kwargs (`Any`):
            Other arguments of transformers' function. `sliding_window` is the number of tokens that a token sees.

    Returns:
        The output of shape `(batch, tokens, heads, size)`, and `None` for the weights.
    """
    if segments is None:
        with _finite_gradients(key, attention_mask):
            return _PLAIN(module, query, key, value, attention_mask, **kwargs)
    queries, keys, values = (_by_group(each, segments) for each in (query, key, value))
    outputs = []
    for q, k, v, group in zip(queries, keys, values, segments.groups, strict=True):
        if group.prompts is not None:
            chosen = group.chosen.to(query.device)
            k, v = (torch.cat([all_[group.prompts][chosen], own], 2) for all_, own in ((keys, k), (values, v)))
        mask = _mask(q, k, kwargs.get("sliding_window"), segments.masks)
        with _finite_gradients(k, mask):
            output, _ = _PLAIN(module, q, k, v, mask, **kwargs)
        outputs.append(output.flatten(0, 1))
    return torch.cat(outputs).index_select(0, segments.real.to(query.device)).unsqueeze(0), None


@contextlib.contextmanager
def _finite_gradients(key: torch.Tensor, mask: torch.Tensor | None) -> Iterator[None]:
    """
    Compute attention without cuDNN where its backward pass can return NaN.

    On H100 and H200, PyTorch 2.11 and later prefer cuDNN. With a mask and 64 keys more than a multiple of 128, its
    gradient is NaN where all scores of a query are very low, as in some heads of Qwen2.5, and where a query is masked
    altogether (https://github.com/pytorch/pytorch/issues/196678).
    """
    is_unsafe = mask is not None and key.device.type == _WITH_CUDNN and key.shape[2] % 128 == 64
    if not is_unsafe or not torch.backends.cuda.cudnn_sdp_enabled():
        yield
        return
    torch.backends.cuda.enable_cudnn_sdp(False)
    try:
        yield
    finally:
        torch.backends.cuda.enable_cudnn_sdp(True)


def _by_group(states: torch.Tensor, segments: Segments) -> list[torch.Tensor]:
    """Return the states of each group, `(count, heads, length, size)`."""
    groups, rows = segments.groups, states[0].index_select(1, segments.padded.to(states.device))
    parts = rows.split([group.count * group.length for group in groups], dim=1)
    views = (part.unflatten(1, (group.count, group.length)) for part, group in zip(parts, groups, strict=True))
    return [view.transpose(0, 1) for view in views]


def _mask(
    query: torch.Tensor, key: torch.Tensor, window: int | None, known: dict[Any, torch.Tensor]
) -> torch.Tensor | None:
    """Return what to add to the scores of all pairs; `None` where SDPA's own causal mask says the same."""
    queries, keys = query.shape[2], key.shape[2]
    if queries == keys and (window is None or keys <= window):
        return None
    place = (queries, keys, window, query.dtype, query.device)
    if place not in known:  # the last queries see all keys before them
        sees = torch.ones(queries, keys, dtype=torch.bool, device=query.device).tril(keys - queries)
        sees = sees if window is None else sees.triu(keys - queries - window + 1)
        known[place] = torch.zeros(queries, keys, dtype=query.dtype, device=query.device).masked_fill(~sees, -torch.inf)
    return known[place]


# transformers calls the attention of a model by the name in its configuration, and hands it all arguments that it does
# not know. Without segments, this is the function that was registered before.
AttentionInterface.register("sdpa", attention)
AttentionInterface.register(_reach.__name__, _reach)
