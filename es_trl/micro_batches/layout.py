"""The layout of a micro-batch in the model's forward pass, which decides how many tokens are computed.

TRL lays out a micro-batch with prompts padded on the left and completions padded on the right. Here it is laid out
anew inside the call of the model, and the model gives back the hidden states of the completions alone. TRL's head then
computes no logits of prompts.

- `trimmed`: each prompt with its completion behind it, padded on the right. No attention mask is needed, because a
  token does not see those behind it.
- `packed`: all prompts and completions in one row without padding. FlashAttention keeps them apart by their positions.
- `shared`: each prompt once, then its completions, see `prefixes.py`.
"""

import contextlib
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch


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
        inputs (`dict[str, torch.Tensor]`):
            Inputs of the model.
        hidden (`torch.Tensor` of shape `(batch, completion_width + 1)`, *optional*):
            For each completion, the positions in the flattened hidden states of the last token of its prompt and of
            its own tokens. `None` if the hidden states are these already.
        prefix (`Callable`, *optional*):
            Returns the keys and values of tokens before the inputs, from the backbone.
    """

    inputs: dict[str, torch.Tensor]
    hidden: torch.Tensor | None = None
    prefix: Callable[[torch.nn.Module], Any] | None = None


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
            inputs.pop("position_ids", None)
        if not others.get("output_router_logits") and laid.hidden is not None:
            inputs.pop("attention_mask", None)  # only the loss of a router counts padding
        labels = labels[:, -self.sizes.completion_width - 1 :]
        # the hooks are inside the call, because DDP and DeepSpeed expect one call of the model per backward pass
        with _hooked(self.backbone, laid):
            return self.model(**inputs, labels=labels, **others)


@contextlib.contextmanager
def _hooked(backbone: torch.nn.Module, laid: Laid) -> Iterator[None]:
    """Let the backbone compute the prefix first, and return only the hidden states of the completions."""

    def before(module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return args, {**kwargs, "past_key_values": laid.prefix(module)}

    def after(module: torch.nn.Module, args: Any, output: Any) -> Any:
        states = output.last_hidden_state
        picked = states.reshape(-1, states.shape[-1])[laid.hidden.reshape(-1)]
        output.last_hidden_state = picked.view(*laid.hidden.shape, -1)
        return output

    handles = []
    if laid.prefix is not None:
        handles.append(backbone.register_forward_pre_hook(before, with_kwargs=True))
    if laid.hidden is not None:
        handles.append(backbone.register_forward_hook(after))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def trimmed_layout(input_ids: torch.Tensor, mask: torch.Tensor, sizes: Sizes) -> Laid:
    """Lay out each prompt with its completion behind it, padded on the right."""
    prompts, tokens = _counts(mask, sizes.completion_width)
    width = -(-int(tokens.max()) // sizes.multiple_of) * sizes.multiple_of
    columns = torch.arange(width, device=mask.device)
    first = mask.shape[1] - sizes.completion_width - prompts
    from_columns = (first.unsqueeze(1) + columns).clamp(max=mask.shape[1] - 1)
    rows = torch.arange(len(mask), device=mask.device).unsqueeze(1) * width
    inputs = {
        "input_ids": input_ids.gather(1, from_columns),
        "attention_mask": (columns < tokens.unsqueeze(1)).long(),
        "position_ids": (sizes.prompt_width - prompts).unsqueeze(1) + columns,
    }
    return Laid(inputs, rows + _of_completions(prompts, sizes).clamp(max=width - 1))


def packed_layout(input_ids: torch.Tensor, mask: torch.Tensor, sizes: Sizes) -> Laid:
    """Lay out all prompts and completions in one row; the positions begin at 0 in each."""
    prompts, tokens = _counts(mask, sizes.completion_width)
    ends = tokens.cumsum(0).unsqueeze(1)
    inputs = {
        "input_ids": input_ids[mask].unsqueeze(0),
        "position_ids": (mask.cumsum(dim=1) - 1)[mask].unsqueeze(0),
    }
    starts = ends - tokens.unsqueeze(1)
    return Laid(inputs, torch.minimum(starts + _of_completions(prompts, sizes), ends - 1))


def _counts(mask: torch.Tensor, completion_width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the tokens of each prompt, and those of each prompt with its completion."""
    return mask[:, :-completion_width].sum(dim=1), mask.sum(dim=1)


def _of_completions(prompts: torch.Tensor, sizes: Sizes) -> torch.Tensor:
    columns = torch.arange(sizes.completion_width + 1, device=prompts.device)
    return (prompts.unsqueeze(1) - 1 + columns).clamp(min=0)
