"""The work of one GPU in one stage of a recipe."""

import math
from dataclasses import dataclass, replace
from typing import Literal

from ..config.micro_batches import coupling, own_path
from ..curriculum.planned import PlannedStage
from ..recipe import Recipe
from .launch import Launch, Sharding
from .model_shape import ModelShape, NoProjectionError


OPTIMIZERS = ("adamw_torch", "adamw_torch_fused")


@dataclass(frozen=True)
class Adapter:
    """A LoRA adapter."""

    rank: int
    targets: tuple[str, ...]  # names of the linear maps that it adapts
    dropout: bool = False

    def parameters(self, shape: ModelShape) -> int:
        """Return the number of the adapter's parameters."""
        return self.rank * sum(sum(sizes) for name in self.targets for sizes in shape.linears[name])

    def inputs(self, shape: ModelShape) -> float:
        """Return the input widths of the adapted maps, summed over one layer."""
        return sum(inputs for name in self.targets for inputs, _ in shape.linears[name]) / shape.layers


@dataclass(frozen=True)
class Engine:
    """A vLLM engine beside the trainer (`vllm_mode: colocate`)."""

    utilization: float  # share of the GPU's memory
    tensor_parallel: int  # GPUs that share one engine
    max_length: int  # tokens of the longest sequence
    max_sequences: int  # most sequences that are written at once
    sleeps: bool  # whether it frees its memory during training


@dataclass(frozen=True)
class Workload:
    """The work of one GPU in one stage."""

    shape: ModelShape
    adapter: Adapter | None  # `None` if the whole model is trained
    weight_bytes: int  # per weight, as the model is loaded
    compute_bytes: int  # per number in matrix products
    quantized: bool  # whether the weights under the adapter are loaded in 4 bits
    sharding: Sharding
    num_processes: int
    micro_batch: int  # completions of the largest length
    prompt: int  # tokens of the longest prompt
    completion: int  # tokens of the longest completion
    sequences: int  # completions per rollout that this GPU trains on
    checkpointing: bool
    attention: Literal["sdpa", "flash", "eager"]
    reference: bool  # whether there is a reference model
    engine: Engine | None  # `None` if the trainer or a vLLM server generates
    generates: bool = True  # whether completions are written on this GPU
    cuts_by_tokens: bool = False  # whether micro-batches are cut by tokens, so that a number of tokens limits them

    @property
    def trained(self) -> int:
        """Number of parameters with a gradient."""
        return self.shape.parameters if self.adapter is None else self.adapter.parameters(self.shape)

    def with_budget(self, tokens: int) -> "Workload":
        """Return the same work with micro-batches of at most so many tokens; a single completion may have more."""
        return replace(self, micro_batch=math.ceil(tokens / (self.prompt + self.completion)))


def check_known(recipe: Recipe) -> None:
    """Raise `NoProjectionError` if the projection does not cover a setting of the recipe."""
    args, model = recipe.training, recipe.model
    optimizer = getattr(args.optim, "value", args.optim)
    if model.model_name_or_path is None:
        raise NoProjectionError("the recipe names no model")
    if args.max_completion_length is None:
        raise NoProjectionError("`max_completion_length` is not set, so a completion may have any length")
    if optimizer not in OPTIMIZERS:
        raise NoProjectionError(
            f"the projection covers optim {' and '.join(OPTIMIZERS)}, but the recipe has {optimizer}"
        )
    for name in ("deepspeed", "fsdp", "load_in_8bit", "use_dora", "lora_modules_to_save"):
        if getattr(args if name in ("deepspeed", "fsdp") else model, name):
            raise NoProjectionError(f"the projection does not cover {name}, which the recipe sets")


def workload_of(recipe: Recipe, shape: ModelShape, stage: PlannedStage, longest: int, launch: Launch) -> Workload:
    """Return the work of one GPU in a stage. `longest` is the longest completion of any stage, in tokens."""
    args, model, batch = recipe.training, recipe.model, recipe.training.per_device_train_batch_size
    loading = {"dtype": model.dtype, "attn_implementation": model.attn_implementation, **(args.model_init_kwargs or {})}
    is_fp32, attention = "32" in str(loading["dtype"]), str(loading["attn_implementation"])
    colocated = args.use_vllm and args.vllm_mode == "colocate"
    length, gpus = args.vllm_max_model_length, args.vllm_tensor_parallel_size
    sequences = batch * args.steps_per_generation * gpus
    utilization, sleeps = args.vllm_gpu_memory_utilization, args.vllm_enable_sleep_mode
    work = Workload(
        shape=shape, adapter=_adapter(recipe, shape) if model.use_peft else None,
        weight_bytes=4 if is_fp32 else 2, quantized=model.load_in_4bit and model.use_peft,
        compute_bytes=2 if args.bf16 or args.fp16 or launch.half or not is_fp32 else 4,
        sharding=launch.sharding, num_processes=launch.num_processes, micro_batch=batch,
        prompt=length - longest if args.use_vllm and length is not None else 1024,  # an assumption
        completion=stage.max_completion_length, sequences=stage.completions // launch.num_processes,
        attention="flash" if "flash" in attention else "eager" if attention == "eager" else "sdpa",
        checkpointing=args.gradient_checkpointing, reference=args.beta != 0.0 and not model.use_peft,
        engine=Engine(utilization, gpus, length or shape.max_positions, sequences, sleeps) if colocated else None,
        generates=colocated or not args.use_vllm,
        cuts_by_tokens=own_path(args) is None and coupling(args) is None,
    )  # fmt: skip
    budget = args.max_tokens_per_micro_batch
    return work if budget is None else work.with_budget(budget)


def _adapter(recipe: Recipe, shape: ModelShape) -> Adapter:
    model = recipe.model
    targets = model.lora_target_modules or ("q_proj", "v_proj")  # PEFT's default
    targets = (targets,) if isinstance(targets, str) else tuple(targets)
    targets = tuple(shape.linears) if targets == ("all-linear",) else targets
    unknown = [*(name for name in targets if name not in shape.linears), *(model.lora_target_parameters or ())]
    if unknown:
        raise NoProjectionError(f"the projection does not cover LoRA on {unknown[0]}")
    return Adapter(model.lora_r, targets, dropout=model.lora_dropout > 0.0)
