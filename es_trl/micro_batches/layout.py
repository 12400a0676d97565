"""The layout of a micro-batch in the model's forward pass, which decides how many tokens are computed.

TRL lays out a micro-batch with prompts padded on the left and completions padded on the right. Here it is laid out
anew when the model is called. Only the hidden states that predict a token of a completion go into TRL's head. Where no
layer is checkpointed, only these go through the MLP of the last layer.

- `trimmed`: each prompt with its completion behind it, padded on the right. No attention mask is needed, because a
  token does not see those behind it.
- `masked`: the same with an attention mask, for models with an attention of their own, and for the loss of a router,
  which counts the tokens of the mask.
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


HEAD_OUTPUTS = ("log_probs", "entropy", "log_sum_sq_probs")  # outputs of TRL's head that are read


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
        labels = labels[:, -self.sizes.completion_width :]
        scored = labels != -100
        # without a token to score, one hidden state without a label keeps the loss connected with the model
        positions, targets = (each[scored] if scored.any() else each[:1, 0] for each in (laid.hidden, labels))
        # the loss of a router counts all tokens in all layers
        keeps_layers = self.checkpoints or others.get("output_router_logits", False)
        with _only(self.backbone, positions), _last_mlp_only(self.backbone, None if keeps_layers else positions):
            output = self.model(**inputs, shift_labels=targets.unsqueeze(0), **others)
        for name in HEAD_OUTPUTS:
            if (column := getattr(output, name)) is not None:
                setattr(output, name, column.new_zeros(labels.shape).masked_scatter(scored, column))
        return output


@contextlib.contextmanager
def _only(backbone: torch.nn.Module, positions: torch.Tensor) -> Iterator[None]:
    """Let the backbone return only the hidden states at `positions`, in one row."""

    def pick(module: torch.nn.Module, args: Any, output: Any) -> Any:
        states = output.last_hidden_state
        output.last_hidden_state = states.reshape(-1, states.shape[-1])[positions].unsqueeze(0)
        return output

    handle = backbone.register_forward_hook(pick)
    try:
        yield
    finally:
        handle.remove()


@contextlib.contextmanager
def _last_mlp_only(backbone: torch.nn.Module, read: torch.Tensor | None) -> Iterator[None]:
    """Let the MLP of the last layer compute only the tokens at the positions `read`; `None` for all."""
    mlp = getattr(list(getattr(backbone, "layers", [None]))[-1], "mlp", None)
    # a checkpointed layer is computed again in the backward pass, when no hook is left
    if mlp is None or read is None or (getattr(backbone, "gradient_checkpointing", False) and backbone.training):
        yield
        return
    positions = read.unique()
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
