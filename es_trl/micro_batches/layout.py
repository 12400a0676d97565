"""The layout of a micro-batch in the model's forward pass, which decides how many tokens are computed.

TRL lays out a micro-batch with prompts padded on the left and completions padded on the right. Here it is laid out
anew when the model is called. Only the hidden states that predict a token of a completion go into TRL's head, so that it
computes no logits of prompts and padding.

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
from typing import Any

import torch

from .cutting import LAYOUTS
from .segments import Segments


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

    def before(self, mask: torch.Tensor) -> int:
        """Return how many columns of prompts the whole rollout has before those of `mask`."""
        return self.prompt_width + self.completion_width - mask.shape[1]


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
    """A wrapper of the policy that lays a micro-batch out anew. TRL calls it like the policy."""

    def __init__(self, model: Any, backbone: torch.nn.Module, layout: Layout, sizes: Sizes) -> None:
        self.model, self.backbone, self.layout, self.sizes = model, backbone, layout, sizes

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
        with _only(self.backbone, positions):
            output = self.model(**inputs, shift_labels=targets.unsqueeze(0), **others)
        for name in PER_TOKEN:
            if (column := getattr(output, name)) is not None:
                setattr(output, name, column.new_zeros(labels.shape).masked_scatter(scored, column))
        return output


@contextlib.contextmanager
def _only(backbone: torch.nn.Module, positions: torch.Tensor) -> Iterator[None]:
    """Let the backbone return only the hidden states at `positions`, in one row."""

    def hook(module: torch.nn.Module, args: Any, output: Any) -> Any:
        states = output.last_hidden_state
        output.last_hidden_state = states.reshape(-1, states.shape[-1])[positions].unsqueeze(0)
        return output

    handle = backbone.register_forward_hook(hook)
    try:
        yield
    finally:
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
    laid = flash_layout(input_ids, mask, sizes)
    lengths = mask.sum(dim=1).tolist()
    segments = Segments(lengths, [None] * len(lengths))
    columns = torch.arange(mask.shape[1], device=mask.device) + sizes.before(mask)
    inputs = {"input_ids": laid.inputs["input_ids"], "position_ids": columns.expand_as(mask)[mask].unsqueeze(0)}
    return Laid({**inputs, **_segmented(segments, mask.device)}, laid.hidden)


def shared_layout(input_ids: torch.Tensor, mask: torch.Tensor, sizes: Sizes) -> Laid:
    """Lay out each prompt once in one row, and the completions of all prompts behind them."""
    width = mask.shape[1] - sizes.completion_width
    known = torch.where(mask[:, :width], input_ids[:, :width], -1)
    prompts, of_prompt = torch.unique(known, dim=0, return_inverse=True)
    is_token, completed = prompts >= 0, mask[:, width:]
    columns = torch.arange(mask.shape[1], device=mask.device) + sizes.before(mask)
    inputs = {
        "input_ids": torch.cat([prompts[is_token], input_ids[:, width:][completed]]).unsqueeze(0),
        "position_ids": torch.cat(
            [columns[:width].expand_as(prompts)[is_token], columns[width:].expand_as(completed)[completed]]
        ).unsqueeze(0),
    }
    lengths, ends = is_token.sum(dim=1), completed.sum(dim=1).cumsum(0)
    written = [(number, size) for number, size in zip(of_prompt.tolist(), completed.sum(dim=1).tolist(), strict=True)]
    written = [each for each in written if each[1] > 0]
    segments = Segments(
        [*lengths.tolist(), *(size for _, size in written)],
        [*[None] * len(prompts), *(number for number, _ in written)],
    )
    starts = lengths.sum() + ends - completed.sum(dim=1)
    own = starts.unsqueeze(1) + torch.arange(sizes.completion_width, device=mask.device)
    last = (lengths.cumsum(0) - 1)[of_prompt].unsqueeze(1)
    hidden = torch.cat([last, own[:, :-1]], dim=1).clamp(max=inputs["input_ids"].shape[1] - 1)
    return Laid({**inputs, **_segmented(segments, mask.device)}, hidden)


BY_NAME: dict[str, Layout] = dict(
    zip(LAYOUTS, (trimmed_layout, packed_layout, shared_layout, flash_layout), strict=True)
)


def _segmented(segments: Segments, device: torch.device) -> dict[str, Any]:
    # a mask with four dimensions is used as it is, so that transformers builds none for all pairs of tokens
    return {"segments": segments, "attention_mask": torch.ones(1, 1, 1, 1, dtype=torch.bool, device=device)}


def _rounded(tokens: int, multiple_of: int) -> int:
    return -(-tokens // multiple_of) * multiple_of


def _counts(mask: torch.Tensor, completion_width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the tokens of each prompt, and those of each prompt with its completion."""
    return mask[:, :-completion_width].sum(dim=1), mask.sum(dim=1)


def _of_completions(prompts: torch.Tensor, sizes: Sizes) -> torch.Tensor:
    columns = torch.arange(sizes.completion_width, device=prompts.device)
    return (prompts.unsqueeze(1) - 1 + columns).clamp(min=0)
