"""The layouts of a micro-batch: how its prompts and completions are arranged for the model, see `layout.py`."""

from itertools import groupby
from typing import Any

import torch

from .cutting import LAYOUTS, about
from .layout import Laid, Layout, Sizes
from .rows import distinct
from .segments import Group, Segments, no_mask, segments_of


def trimmed_layout(input_ids: torch.Tensor, mask: torch.Tensor, sizes: Sizes) -> Laid:
    """Lay out each prompt with its completion behind it, padded on the right."""
    prompts, tokens = _counts(mask, sizes.completion_width)
    width = _rounded(int(tokens.max()), sizes.multiple_of)
    columns = torch.arange(width, device=mask.device)
    first = mask.shape[1] - sizes.completion_width - prompts
    from_columns = (first.unsqueeze(1) + columns).clamp(max=mask.shape[1] - 1)
    rows = torch.arange(len(mask), device=mask.device).unsqueeze(1) * width
    inputs = {
        "input_ids": input_ids.gather(1, from_columns),
        "position_ids": (sizes.prompt_width - prompts).unsqueeze(1) + columns,
    }
    return Laid(inputs, rows + _of_completions(prompts, sizes).clamp(max=width - 1))


def masked_layout(input_ids: torch.Tensor, mask: torch.Tensor, sizes: Sizes) -> Laid:
    """Lay out as [`trimmed_layout`] does, with a mask of the padding."""
    laid = trimmed_layout(input_ids, mask, sizes)
    columns = torch.arange(laid.inputs["input_ids"].shape[1], device=mask.device)
    is_token = columns < mask.sum(dim=1, keepdim=True)
    return Laid({**laid.inputs, "attention_mask": is_token.long()}, laid.hidden)


def flash_layout(input_ids: torch.Tensor, mask: torch.Tensor, sizes: Sizes) -> Laid:
    """Lay out all prompts and completions in one row; the positions begin at 0 in each."""
    prompts, tokens = _counts(mask, sizes.completion_width)
    inputs = {
        "input_ids": input_ids[mask].unsqueeze(0),
        "position_ids": (mask.cumsum(dim=1) - 1)[mask].unsqueeze(0),
    }
    ends = tokens.cumsum(0).unsqueeze(1)
    starts = ends - tokens.unsqueeze(1)
    return Laid(inputs, torch.minimum(starts + _of_completions(prompts, sizes), ends - 1))


def packed_layout(input_ids: torch.Tensor, mask: torch.Tensor, sizes: Sizes) -> Laid:
    """Lay out all prompts and completions in one row, each prompt with its completion behind it."""
    order = torch.sort(mask.sum(dim=1), stable=True).indices
    mask = mask[order]
    laid, lengths = flash_layout(input_ids[order], mask, sizes), mask.sum(dim=1)
    groups = [Group(len(list(same)), length) for length, same in groupby(map(about, lengths.tolist()))]
    inputs = _segmented(laid.inputs["input_ids"], _columns(mask, sizes)[mask], segments_of(lengths, groups))
    return Laid(inputs, laid.hidden[order.argsort()])


def shared_layout(input_ids: torch.Tensor, mask: torch.Tensor, sizes: Sizes) -> Laid:
    """Lay out each prompt once in one row, and the completions of all prompts behind them."""
    width = mask.shape[1] - sizes.completion_width
    # groups hold segments of about one length, so prompts come in the order of theirs, and completions of both lengths
    prompts, of_prompt = distinct(input_ids[:, :width], mask[:, :width])
    by_length = torch.sort((prompts >= 0).sum(dim=1), stable=True).indices
    prompts, of_prompt = prompts[by_length], by_length.argsort()[of_prompt]
    is_token = prompts >= 0
    lengths, written = is_token.sum(dim=1), mask[:, width:].sum(dim=1)
    order = torch.sort(lengths[of_prompt] * mask.shape[1] + written, stable=True).indices
    completed, columns = mask[order, width:], _columns(mask, sizes)
    ids = torch.cat([prompts[is_token], input_ids[order, width:][completed]])
    positions = [columns[: len(prompts), :width][is_token], columns[:, width:][completed]]
    inside = order[written[order] > 0]  # a masked completion has no tokens
    groups = _groups(lengths, of_prompt[inside], written[inside])
    segments = segments_of(torch.cat([lengths, written[inside]]), groups)
    starts = torch.empty_like(written)
    starts[order] = lengths.sum() + written[order].cumsum(0) - written[order]
    own = starts.unsqueeze(1) + torch.arange(sizes.completion_width - 1, device=mask.device)
    hidden = torch.cat([(lengths.cumsum(0) - 1)[of_prompt].unsqueeze(1), own], dim=1).clamp(max=len(ids) - 1)
    return Laid(_segmented(ids.unsqueeze(0), torch.cat(positions), segments), hidden)


def _groups(lengths: torch.Tensor, of_prompt: torch.Tensor, written: torch.Tensor) -> list[Group]:
    """Return the groups of prompts with `lengths`, and of completions with `written` tokens, both in their order."""
    groups, first, done = [], {}, 0  # first: for a length, the number of its group and its first prompt
    for length, same in groupby(lengths.tolist()):
        groups.append(Group(len(list(same)), length))
        first[length] = (len(groups) - 1, done)
        done += groups[-1].count
    pairs = zip(lengths[of_prompt].tolist(), map(about, written.tolist()), strict=True)
    done = 0
    for (length, size), same in groupby(pairs):
        count, (number, before) = len(list(same)), first[length]
        groups.append(Group(count, size, number, of_prompt[done : done + count] - before))
        done += count
    return groups


BY_NAME: dict[str, Layout] = {
    "trimmed": trimmed_layout,
    "masked": masked_layout,
    "packed": packed_layout,
    "shared": shared_layout,
    "flash": flash_layout,
}
assert tuple(BY_NAME) == LAYOUTS


def _segmented(ids: torch.Tensor, positions: torch.Tensor, segments: Segments) -> dict[str, Any]:
    inputs = {"input_ids": ids, "position_ids": positions.unsqueeze(0)}
    return {**inputs, "segments": segments, "attention_mask": no_mask(ids.device)}


def _columns(mask: torch.Tensor, sizes: Sizes) -> torch.Tensor:
    """Return for each token its column in the whole rollout, which is its position for TRL."""
    before = sizes.prompt_width + sizes.completion_width - mask.shape[1]
    return torch.arange(before, before + mask.shape[1], device=mask.device).expand_as(mask)


def _rounded(tokens: int, multiple_of: int) -> int:
    return -(-tokens // multiple_of) * multiple_of


def _counts(mask: torch.Tensor, completion_width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the tokens of each prompt, and those of each prompt with its completion."""
    return mask[:, :-completion_width].sum(dim=1), mask.sum(dim=1)


def _of_completions(prompts: torch.Tensor, sizes: Sizes) -> torch.Tensor:
    columns = torch.arange(sizes.completion_width, device=prompts.device)
    return (prompts.unsqueeze(1) - 1 + columns).clamp(min=0)
