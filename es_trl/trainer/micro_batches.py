"""How a run cuts its updates into micro-batches, and the backward passes of an update.

`micro_batches: tokens` cuts each update by its tokens. Where a loss or an actuator couples the completions of one of
TRL's micro-batches, these are kept and only trimmed. `micro_batches: completions` leaves them as TRL makes them.
"""

import contextlib
import inspect
import math
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.utils.generic import is_flash_attention_requested
from trl import GRPOTrainer
from trl.trainer.utils import split_pixel_values_by_grid, split_tensor_dict, unsplit_pixel_values_by_grid

from ..common.temporarily import temporarily
from ..config.config import ESGRPOConfig
from ..config.micro_batches import coupling, own_path, refuse
from ..control.base import Actuator
from ..micro_batches import segments
from ..micro_batches.cutting import Costs
from ..micro_batches.plan import Budget
from .forward import backbone_of


# What a micro-batch costs beside its tokens, in tokens. Its passes read all weights and add to all gradients,
# like WEIGHTS tokens. The kernel calls of a layer take the time of a token in a model with CALLS parameters, and those
# of attention in one with ATTENTION parameters. A pair of tokens that attention masks takes MASKED times the time of
# its operations. Fitted on a CPU to Qwen2 shapes with 0.5 to 135 million parameters, and on an H100 to one with 1.5
# billion.
WEIGHTS = {"cpu": 32, "cuda": 256}
CALLS = {"cpu": 1.5e7, "cuda": 6e10}
ATTENTION = {"cpu": 1e6, "cuda": 2e10}
MASKED = {"cpu": 1, "cuda": 7}
WITH_ATTENTION = {"full_attention", "sliding_attention"}


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
        costs (`Costs`):
            What a micro-batch costs beside its tokens.
    """

    group: int
    layouts: tuple[str, ...]
    keeps: bool
    costs: Costs

    def mark(self, args: ESGRPOConfig, parts: int) -> int:
        """Return a number that changes with everything that a plan depends on beside the completions."""
        known = (self.group, self.layouts, self.keeps, args.max_tokens_per_micro_batch, parts if self.keeps else None)
        return zlib.crc32(repr(known).encode())

    def budget(self, args: ESGRPOConfig, length: int | None, parts: int) -> Budget:
        """Return the budget of a stage: completions have up to `length` tokens, and TRL's micro-batches `parts`."""
        return Budget(
            args.max_tokens_per_micro_batch,
            args.per_device_train_batch_size,
            length,
            self.costs,
            self.layouts,
            parts if self.keeps else None,
        )


def cutting_of(trainer: GRPOTrainer, actuators: Iterable[Actuator]) -> Cutting:
    """Return how the micro-batches of a run are made, or raise `ValueError` where the configuration contradicts it."""
    args, model = trainer.args, trainer.accelerator.unwrap_model(trainer.model)
    stays = _own_path(trainer)
    couples = _router(trainer) or coupling(args, actuators)
    cannot_share = stays or _cannot_segment(trainer, model)
    if args.max_tokens_per_micro_batch is not None and (stays or couples):
        refuse("max_tokens_per_micro_batch", stays or couples)
    if args.shared_prefixes and cannot_share:
        refuse("shared_prefixes", cannot_share)
    if stays:
        return Cutting(1, (), True, Costs(0, 0))
    if args.shared_prefixes:
        layouts = ("shared",)
    elif is_flash_attention_requested(model.config) and not _cannot_join(trainer, model, "position_ids"):
        layouts = ("flash",)
    else:
        segmented = ("packed",) if args.shared_prefixes is False else ("packed", "shared")
        # on a CPU, a call of attention costs little beside the padding that it saves
        with_padding = segmented if trainer.accelerator.device.type == "cpu" else (*segmented, "trimmed")
        layouts = ("masked",) if cannot_share else with_padding
    group = 1 if couples else math.gcd(args.gradient_accumulation_steps, args.steps_per_generation)
    return Cutting(group, layouts, bool(couples), _costs(model))


def _own_path(trainer: GRPOTrainer) -> str | None:
    """Return what makes TRL's own micro-batches necessary, if anything does."""
    args, parallelism = trainer.args, getattr(trainer.accelerator, "parallelism_config", None)
    configs = list(getattr(trainer.model, "peft_config", {}).values())
    checks = {
        "a model that reads images": trainer._is_vlm,
        "a model that counts positions by the attention mask": _counts_positions(trainer.model),
        "an adapter that learns a prompt": any(config.is_prompt_learning for config in configs),
        "an adapter that reads a row as one sequence (aLoRA, X-LoRA)": any(map(_reads_rows, configs)),
        "several GPUs in one process": args.n_gpu > 1,
        "context or sequence parallelism": parallelism is not None
        and (parallelism.cp_size > 1 or getattr(parallelism, "sp_size", 1) > 1),
    }
    return own_path(args) or next((reason for reason, holds in checks.items() if holds), None)


def _reads_rows(config: Any) -> bool:
    return config.peft_type == "XLORA" or bool(getattr(config, "alora_invocation_tokens", None))


def _counts_positions(model: torch.nn.Module) -> bool:
    """Return whether learned positions begin at a sequence's first token, as in OPT, and not at its first column."""
    embeddings = (module for module in model.modules() if isinstance(module, torch.nn.Embedding))
    return any("attention_mask" in inspect.signature(each.forward).parameters for each in embeddings)


def _router(trainer: GRPOTrainer) -> str | None:
    return "the auxiliary loss of a router" if trainer.aux_loss_enabled else None


def _cannot_segment(trainer: GRPOTrainer, model: torch.nn.Module) -> str | None:
    """Return what rules out that prompts and completions lie in one row as segments, if anything does."""
    if (attention := model.config._attn_implementation) != "sdpa":
        return f"`attn_implementation: {attention}`, only with sdpa"
    if ALL_ATTENTION_FUNCTIONS["sdpa"] is not segments.attention:
        return "a function of your own that is registered as `sdpa` after es_trl is imported"
    # the loss of a router counts every token, also those of a prompt
    return _router(trainer) or _cannot_join(trainer, model, "segments")


def _cannot_join(trainer: GRPOTrainer, model: torch.nn.Module, tells: str) -> str | None:
    """Return what rules out one row for several completions, if anything does; the argument `tells` them apart."""
    layers = set(getattr(model.config.get_text_config(), "layer_types", None) or ())
    checks = {
        "`pad_to_multiple_of`": trainer.pad_to_multiple_of is not None,
        "layers without attention": bool(layers - WITH_ATTENTION) or model._is_stateful,
        f"a model that does not hand `{tells}` on to its attention": not segments.hands_on(backbone_of(model), tells),
    }
    return next((reason for reason, holds in checks.items() if holds), None)


def _costs(model: torch.nn.Module) -> Costs:
    config = model.config.get_text_config()
    # ZeRO-3 leaves an empty parameter in the model and keeps the size beside it
    parameters = sum(getattr(p, "ds_numel", p.numel()) for p in model.parameters())
    kind = "cpu" if next(model.parameters()).device.type == "cpu" else "cuda"
    layers, hidden = getattr(config, "num_hidden_layers", 1), getattr(config, "hidden_size", None)
    return costs_on(kind, parameters, layers, hidden)


def costs_on(kind: Literal["cpu", "cuda"], parameters: int, layers: int, hidden: int | None) -> Costs:
    """Return what a micro-batch of a model costs on a kind of device; without its width no masked pair is counted."""
    calls, attention = (round(each[kind] * layers / parameters) for each in (CALLS, ATTENTION))
    # attention takes 4 times its width for each pair of tokens, and all else about 24 times its square for each token
    return Costs(WEIGHTS[kind] + calls, attention, 0.0 if hidden is None else MASKED[kind] / (6 * hidden))


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
def passes_with_graph(accelerator: Accelerator) -> Iterator[None]:
    """
    Let the accelerator skip the backward pass of a loss without a graph in this block.

    DeepSpeed refuses such a loss. A backward pass without gradients would also count as the first one of the update for
    ZeRO-3, which then adds to the gradients of the update before.
    """
    backward = accelerator.backward

    def skipping(loss: torch.Tensor, **kwargs: Any) -> None:
        if loss.requires_grad:
            backward(loss, **kwargs)

    with temporarily(accelerator, backward=skipping):
        yield


@contextlib.contextmanager
def alone(accelerator: Accelerator) -> Iterator[None]:
    """
    Let the accelerator gather and reduce nothing in this block, so that each process sees its own values.

    TRL's loss exchanges values only for its metrics. Where these are thrown away, so many waits would be for nothing.
    """
    with temporarily(accelerator, gather=lambda tensor: tensor, reduce=lambda tensor, reduction="sum": tensor):
        yield


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
