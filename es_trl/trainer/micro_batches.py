"""How a run cuts its updates into micro-batches, and the backward passes of an update.

`micro_batches: tokens` cuts each update by its tokens. Where a loss or an actuator couples the completions of one of
TRL's micro-batches, these are kept and only trimmed. `micro_batches: completions` leaves them as TRL makes them.
"""

import contextlib
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType
from transformers.utils.generic import is_flash_attention_requested
from trl import GRPOTrainer
from trl.trainer.utils import split_pixel_values_by_grid, split_tensor_dict, unsplit_pixel_values_by_grid

from ..common.temporarily import temporarily
from ..config.config import ESGRPOConfig
from ..config.micro_batches import coupling, refuse
from ..control.base import Actuator
from ..micro_batches.plan import Budget


# The time of a layer's kernel calls, forward and backward, in which the device computes the parameters of this many
# tokens. From it follows how many tokens a micro-batch costs beside its own.
LAYER_TIME = {"cpu": 1e7, "cuda": 4e10}
GROWING_CACHES = {"full_attention", "sliding_attention"}


@dataclass(frozen=True)
class Cutting:
    """
    How the micro-batches of a run are made.

    Args:
        group (`int`):
            Number of TRL's micro-batches whose completions are cut together; 1 to keep TRL's micro-batches.
        layouts (`tuple[str, ...]`):
            Layouts to choose from; empty for TRL's own.
        keeps (`bool`):
            Whether the completions of TRL's micro-batches stay together.
        overhead (`int`):
            Time of a micro-batch beside that of its tokens, as a number of tokens.
    """

    group: int
    layouts: tuple[str, ...]
    keeps: bool
    overhead: int

    def budget(self, args: ESGRPOConfig, length: int | None, parts: int) -> Budget:
        """Return the budget for a stage with completions of up to `length` tokens and `parts` per micro-batch."""
        return Budget(
            args.max_tokens_per_micro_batch,
            args.per_device_train_batch_size,
            length,
            self.overhead,
            self.layouts,
            parts if self.keeps else None,
        )


def cutting_of(trainer: GRPOTrainer, actuators: Iterable[Actuator]) -> Cutting:
    """Return how the micro-batches of a run are made, or raise `ValueError` where the configuration contradicts it."""
    args, model = trainer.args, trainer.accelerator.unwrap_model(trainer.model)
    if args.micro_batches == "completions":
        return Cutting(1, (), True, 0)
    own_path = _own_path(trainer)
    couples = _router(trainer) or coupling(args, actuators)
    cannot_share = own_path or _cannot_share(trainer, model)
    if args.max_tokens_per_micro_batch is not None and (own_path or couples):
        refuse("max_tokens_per_micro_batch", own_path or couples)
    if args.shared_prefixes and cannot_share:
        refuse("shared_prefixes", cannot_share)
    if own_path:
        return Cutting(1, (), True, 0)
    layouts = ("packed",) if is_flash_attention_requested(model.config) else ("trimmed",)
    if args.shared_prefixes:
        layouts = ("shared",)
    elif args.shared_prefixes is None and not cannot_share:
        layouts = (*layouts, "shared")
    group = 1 if couples else math.gcd(args.gradient_accumulation_steps, args.steps_per_generation)
    return Cutting(group, layouts, bool(couples), _overhead(model))


def _own_path(trainer: GRPOTrainer) -> str | None:
    """Return what makes TRL's own micro-batches necessary, if anything does."""
    args, parallelism = trainer.args, getattr(trainer.accelerator, "parallelism_config", None)
    configs = getattr(trainer.model, "peft_config", {}).values()
    checks = {
        "a model that reads images": trainer._is_vlm,
        "an adapter that learns a prompt": any(config.is_prompt_learning for config in configs),
        "several GPUs in one process": args.n_gpu > 1,
        "`optim: lomo` and `adalomo`, which update in every backward pass": "lomo" in str(args.optim),
        "context or sequence parallelism": parallelism is not None
        and (parallelism.cp_size > 1 or getattr(parallelism, "sp_size", 1) > 1),
    }
    return next((reason for reason, holds in checks.items() if holds), None)


def _router(trainer: GRPOTrainer) -> str | None:
    return "the auxiliary loss of a router" if trainer.aux_loss_enabled else None


def _cannot_share(trainer: GRPOTrainer, model: torch.nn.Module) -> str | None:
    """Return what rules out that completions share the keys and values of their prompt, if anything does."""
    layers = set(getattr(model.config.get_text_config(), "layer_types", None) or ())
    checks = {
        "`gradient_checkpointing: true`, which computes without a cache": trainer.args.gradient_checkpointing,
        "layers without keys and values of each token": layers - GROWING_CACHES or model._is_stateful,
    }
    # the loss of a router counts every token, also those of a prompt
    return _router(trainer) or next((reason for reason, holds in checks.items() if holds), None)


def _overhead(model: torch.nn.Module) -> int:
    layers = getattr(model.config.get_text_config(), "num_hidden_layers", 1)
    # ZeRO-3 leaves an empty parameter in the model and keeps the size beside it
    parameters = sum(getattr(p, "ds_numel", p.numel()) for p in model.parameters())
    kind = next(model.parameters()).device.type
    return round(LAYER_TIME.get(kind, LAYER_TIME["cuda"]) * layers / parameters)


def cut(micro_batch: dict[str, Any], parts: int) -> list[dict[str, Any]]:
    """Return one of TRL's micro-batches as `parts` micro-batches with the same number of completions."""
    cuts = split_tensor_dict(split_pixel_values_by_grid(micro_batch), parts)
    return [unsplit_pixel_values_by_grid(each) for each in cuts]


@contextlib.contextmanager
def unreduced(accelerator: Accelerator, model: torch.nn.Module) -> Iterator[None]:
    """
    Run a backward pass that is not the last one of its update.

    It adds to the gradients, but they are not reduced and no update follows.
    """
    state = accelerator.gradient_state
    before = state.sync_gradients
    state._set_sync_gradients(False)  # where it is true, accelerate's DeepSpeed wrapper makes an update
    # ZeRO reduces gradients in every backward pass. DDP does so with sync_each_batch, which saves memory.
    reduces = accelerator.distributed_type == DistributedType.DEEPSPEED
    reduces = reduces or state.plugin_kwargs.get("sync_each_batch", False)
    try:
        with contextlib.nullcontext() if reduces else accelerator.no_sync(model):
            yield
    finally:
        state._set_sync_gradients(before)


def add_gradients(accelerator: Accelerator, loss: torch.Tensor) -> None:
    """Run the backward pass of a loss that is already divided by the number of micro-batches."""
    is_deepspeed = accelerator.distributed_type == DistributedType.DEEPSPEED
    accelerator.backward(loss, **({"scale_wrt_gas": False} if is_deepspeed else {}))


@contextlib.contextmanager
def weighed(trainer: GRPOTrainer, completions: int, usual: int) -> Iterator[None]:
    """
    Let TRL's loss weigh a micro-batch of `completions` by their number, where it expects `usual` ones.

    TRL divides the loss by the number of micro-batches per update, or by a share of the rollout's tokens that depends
    on this number. With the number that is adjusted here, each completion has its usual weight.
    """
    factor = usual / completions
    per_update, per_rollout = trainer.current_gradient_accumulation_steps, trainer.args.steps_per_generation
    with (
        temporarily(trainer, current_gradient_accumulation_steps=per_update * factor),
        temporarily(trainer.args, steps_per_generation=per_rollout * factor),
    ):
        yield
