"""The layout of a micro-batch in the model's forward pass, which decides how many tokens are computed.

TRL lays out a micro-batch with prompts padded on the left and completions padded on the right. Here it is laid out
anew when the model is called. Only the hidden states that predict a token of a completion go through the last MLP and
into TRL's head, so that nothing is computed there for prompts and padding.

- `trimmed`: each prompt with its completion behind it, padded on the right. No attention mask is needed, because a
  token does not see those behind it.
- `packed`: all prompts and completions in one row without padding. Attention keeps them apart, see `segments.py`.
- `shared`: the same, with each prompt once for all of its completions.
- `flash`: `packed` for FlashAttention, which keeps them apart by their positions.
"""

import contextlib
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch

from .cutting import LAYOUTS, about
from .segments import Group, Segments, no_mask, segments_of


PER_TOKEN = ("log_probs", "entropy", "log_sum_sq_probs")  # outputs of TRL's head that are read


@dataclass(frozen=True)
class Sizes:
    """
    The sizes of a micro-batch in TRL's layout.

    Args:
        completion_width (`int`):
            Columns of the completions.
        prompt_width (`int`):
            Columns of the prompts in the whole rollout. TRL counts positions from its first column, and models with
            learned positions depend on that.
        multiple_of (`int`, *optional*, defaults to `1`):
            The rows are padded to a multiple of this number of tokens, as with TRL's `pad_to_multiple_of`.
    """

    completion_width: int
    prompt_width: int
    multiple_of: int = 1


@dataclass(frozen=True)
class Laid:
    """
    A micro-batch that is laid out anew.

    Args:
        inputs (`dict[str, Any]`):
            Inputs of the model.
        hidden (`torch.Tensor` of shape `(batch, completion_width)`):
            For each token of a completion, the position of the token before it in the flattened hidden states.
    """

    inputs: dict[str, Any]
    hidden: torch.Tensor


Layout = Callable[[torch.Tensor, torch.Tensor, Sizes], Laid]


class LaidOut:
    """
    A wrapper of the policy that lays a micro-batch out anew. TRL calls it like the policy.

    With `checkpoints`, the last MLP computes all tokens also where no layer is checkpointed, so that its products have
    the same shapes, and thus the same rounding, in every forward pass.
    """

    def __init__(
        self, model: Any, backbone: torch.nn.Module, layout: Layout, sizes: Sizes, checkpoints: bool = False
    ) -> None:
        self.model, self.backbone, self.layout, self.sizes = model, backbone, layout, sizes
        self.checkpoints = checkpoints

    def __call__(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, labels: torch.Tensor, **others: Any
    ) -> Any:
        laid = self.layout(input_ids, attention_mask.bool(), self.sizes)
        inputs = dict(laid.inputs)
        if "position_ids" not in inspect.signature(self.backbone.forward).parameters:
            del inputs["position_ids"]
        if not others.get("output_router_logits"):
            inputs.pop("padding_mask", None)
        elif "padding_mask" in inputs:  # the loss of a router leaves out padding
            inputs["attention_mask"] = inputs.pop("padding_mask")
        labels = labels[:, -self.sizes.completion_width :]
        scored = labels != -100
        # without a token to score, one hidden state without a label keeps the loss connected with the model
        positions, targets = (each[scored] if scored.any() else each[:1, 0] for each in (laid.hidden, labels))
        # the loss of a router counts all tokens in all layers
        whole = self.checkpoints or others.get("output_router_logits", False)
        with _only(self.backbone, positions, whole):
            output = self.model(**inputs, shift_labels=targets.unsqueeze(0), **others)
        for name in PER_TOKEN:
            if (column := getattr(output, name)) is not None:
                setattr(output, name, column.new_zeros(labels.shape).masked_scatter(scored, column))
        return output


@contextlib.contextmanager
def _only(backbone: torch.nn.Module, positions: torch.Tensor, whole: bool) -> Iterator[None]:
    """Let the backbone return only the hidden states at `positions`, in one row; `whole` for a whole last MLP."""

    def pick(module: torch.nn.Module, args: Any, output: Any) -> Any:
        states = output.last_hidden_state
        output.last_hidden_state = states.reshape(-1, states.shape[-1])[positions].unsqueeze(0)
        return output

    with contextlib.nullcontext() if whole else _last_mlp_only(backbone, positions.unique()):
        handle = backbone.register_forward_hook(pick)
        try:
            yield
        finally:
            handle.remove()


@contextlib.contextmanager
def _last_mlp_only(backbone: torch.nn.Module, positions: torch.Tensor) -> Iterator[None]:
    """Let the MLP of the last layer compute only the tokens at `positions`, because no layer reads the others."""
    mlp = getattr(list(getattr(backbone, "layers", [None]))[-1], "mlp", None)
    # a checkpointed layer is computed again in the backward pass, after this block
    if mlp is None or (getattr(backbone, "gradient_checkpointing", False) and backbone.training):
        yield
        return

    shapes: list[torch.Size] = []

    def pick(module: torch.nn.Module, args: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        shapes.append(args[0].shape)
        return (args[0].flatten(0, 1)[positions].unsqueeze(0), *args[1:])

    def put_back(module: torch.nn.Module, args: tuple[torch.Tensor, ...], output: Any) -> Any:
        shape = shapes.pop()
        states, *more = output if isinstance(output, tuple) else (output,)  # some return the router's scores beside
        whole = states.new_zeros(shape[0] * shape[1], shape[2]).index_copy(0, positions, states.flatten(0, -2))
        return (whole.view(shape), *more) if more else whole.view(shape)

    handles = [mlp.register_forward_pre_hook(pick), mlp.register_forward_hook(put_back)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


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
        "padding_mask": (columns < tokens.unsqueeze(1)).long(),
    }
    return Laid(inputs, rows + _of_completions(prompts, sizes).clamp(max=width - 1))


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
    known = torch.where(mask[:, :width], input_ids[:, :width], -1)
    prompts, of_prompt = torch.unique(known, dim=0, return_inverse=True)
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


BY_NAME: dict[str, Layout] = dict(
    zip(LAYOUTS, (trimmed_layout, packed_layout, shared_layout, flash_layout), strict=True)
)


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
