"""The forward passes of the policy: what it says about the tokens of a micro-batch or of a whole rollout."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from accelerate import Accelerator

from ..actuators.clamped_head import ClampedHead
from ..micro_batches.exchange import returned, work_of
from ..micro_batches.layout import LaidOut, Sizes
from ..micro_batches.layouts import BY_NAME
from ..micro_batches.plan import Plan
from ..micro_batches.rows import fit_right, parts_of
from .temperature import TemperedHead


class LogProbs(NamedTuple):
    """
    What the policy says about completions, in tensors of shape `(batch, tokens)`.

    Args:
        logps (`torch.Tensor`):
            Log-probabilities of the tokens.
        entropies (`torch.Tensor`, *optional*):
            Entropies, nats.
        clamped (`torch.Tensor`, *optional*):
            Entropies over the top tokens of the vocabulary, nats.
        aux_loss (`torch.Tensor`, *optional*):
            Auxiliary loss of a router, a scalar.
    """

    logps: torch.Tensor
    entropies: torch.Tensor | None
    clamped: torch.Tensor | None
    aux_loss: torch.Tensor | None = None

    def map(self, change: Callable[[torch.Tensor], torch.Tensor]) -> "LogProbs":
        """Return the same with every tensor of shape `(batch, tokens)` changed, and without the auxiliary loss."""
        return LogProbs(*(None if column is None else change(column) for column in self[:3]))

    @classmethod
    def joined(cls, found: Sequence["LogProbs"], width: int) -> "LogProbs":
        """Return those of several micro-batches as one with `width` columns."""
        columns = zip(*(each[:3] for each in found), strict=True)
        return cls(*(None if c[0] is None else torch.cat([fit_right(each, width) for each in c]) for c in columns))


@dataclass(frozen=True)
class Forward:
    """
    TRL's forward pass, with a layout of its own and with the clamped entropy.

    Args:
        trl (`Callable`):
            TRL's `_get_per_token_logps_and_entropies`.
        accelerator (`Accelerator`):
            The accelerator.
        layout (`str`, *optional*):
            Name of the layout; `None` for TRL's own.
        multiple_of (`int`):
            Rows are padded to a multiple of this number of tokens.
        clamp (`float`):
            Share of the vocabulary that the clamped entropy leaves out; 0 for no clamped entropy.
        temperature (`float`, *optional*):
            Temperature of the log-probabilities and entropies; `None` for the configuration's.
        checkpoints (`bool`):
            Whether the run checkpoints layers. TRL does not while it scores a rollout.
    """

    trl: Callable[..., tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]]
    accelerator: Accelerator
    layout: str | None
    multiple_of: int
    clamp: float
    temperature: float | None = None
    checkpoints: bool = False

    def __call__(self, model: Any, batch: dict[str, Any], prompt_width: int | None = None, **others: Any) -> LogProbs:
        """
        Return what `model` says about the completions of a batch.

        Args:
            model (`torch.nn.Module`):
                The policy or the reference model, with its wrappers.
            batch (`dict[str, Any]`):
                Prompts and completions in TRL's layout.
            prompt_width (`int`, *optional*):
                Columns of the prompts in the whole rollout; needed with a layout.
            others (`Any`):
                Other arguments of TRL's method.

        Returns:
            `LogProbs`: in TRL's columns, with gradient where the model gives one.
        """
        width = batch["completion_ids"].shape[1]
        tokens, mask = (torch.cat([batch[f"prompt_{k}"], batch[f"completion_{k}"]], dim=1) for k in ("ids", "mask"))
        called: Any = model
        if self.layout is not None:
            sizes = Sizes(width, prompt_width, self.multiple_of)
            backbone = backbone_of(self.accelerator.unwrap_model(model))
            called = LaidOut(model, backbone, BY_NAME[self.layout], sizes, self.checkpoints)
        if self.temperature is not None:
            called = TemperedHead(called, self.temperature)
        head = ClampedHead(called, self.clamp) if self.clamp > 0.0 else None
        logps, entropies, aux_loss = self.trl(called if head is None else head, tokens, mask, width, **others)
        return LogProbs(logps, entropies, None if head is None else head.entropies(width), aux_loss)

    def by_plan(self, model: Any, batch: dict[str, Any], plan: Plan, **others: Any) -> LogProbs:
        """Return what `model` says about the completions of a rollout, computed micro-batch by micro-batch."""
        process, width = self.accelerator.process_index, batch["completion_ids"].shape[1]
        places = plan.places(process)
        work = work_of(plan.fit(batch), places, plan.moves, self.accelerator)
        prompt_width, sizes = work["prompt_ids"].shape[1], map(len, plan.micro_batches(process))
        found = [self(model, part, prompt_width, **others) for part in parts_of(work, sizes)]
        return LogProbs.joined(found, work["completion_ids"].shape[1]).map(
            lambda column: fit_right(returned(column, places, plan.moves, self.accelerator), width)
        )


def backbone_of(model: torch.nn.Module) -> torch.nn.Module:
    """Return the model without its head, on which TRL's fused head runs; `model` is unwrapped."""
    if hasattr(model, "peft_config"):
        model = model.get_base_model()
    return model.base_model
