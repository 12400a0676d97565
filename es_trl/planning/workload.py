"""What one GPU does in one stage of a recipe."""

from dataclasses import dataclass
from typing import Literal

from ..curriculum.planned import PlannedStage
from ..recipe import Recipe
from .launch import Launch, Sharding
from .model_shape import ModelShape, NoProjectionError


DEFAULT_PROMPT = 1024  # tokens of the longest prompt, where no engine's length says it
OPTIMIZERS = ("adamw_torch", "adamw_torch_fused")
PEFT_TARGETS = ("q_proj", "v_proj")  # peft's own, where a recipe names none


@dataclass(frozen=True)
class Adapter:
    """A LoRA adapter: its rank, the names of its linear maps, and whether it drops inputs."""

    rank: int
    targets: tuple[str, ...]
    dropout: bool = False

    def parameters(self, shape: ModelShape) -> int:
        """Return the parameters of the adapter."""
        return self.rank * sum(sum(sizes) for name in self.targets for sizes in shape.linears[name])

    def inputs(self, shape: ModelShape) -> float:
        """Return the widths of what its maps read, summed over one layer."""
        return sum(inputs for name in self.targets for inputs, _ in shape.linears[name]) / shape.layers


@dataclass(frozen=True)
class Engine:
    """A vLLM engine beside the trainer (`vllm_mode: colocate`)."""

    utilization: float  # share of the GPU's memory
    tensor_parallel: int  # GPUs that hold one engine
    max_length: int  # tokens of the longest sequence
    max_sequences: int  # written at once, at most
    sleeps: bool  # whether it gives its memory back while the trainer trains


@dataclass(frozen=True)
class Workload:
    """What one GPU does in one stage."""

    shape: ModelShape
    adapter: Adapter | None  # what is trained, where that is not the model
    weight_bytes: int  # per weight as it is loaded
    compute_bytes: int  # per number in matrix products
    quantized: bool  # whether the weights under the adapter have 4 bits
    sharding: Sharding
    num_processes: int
    micro_batch: int  # completions
    prompt: int  # tokens of the longest
    completion: int  # tokens of the longest
    sequences: int  # completions per rollout that this GPU trains on
    checkpointing: bool
    attention: Literal["sdpa", "flash", "eager"]
    reference: bool  # whether there is a reference model
    engine: Engine | None  # without one the trainer generates, or a server does
    generates: bool = True  # whether completions are written on this GPU

    @property
    def trained(self) -> int:
        """Parameters with a gradient."""
        return self.shape.parameters if self.adapter is None else self.adapter.parameters(self.shape)

    @property
    def deepspeed(self) -> bool:
        """Whether DeepSpeed holds the model."""
        return self.sharding in ("zero2", "zero3")

    @property
    def shards_weights(self) -> bool:
        """Whether a process holds only its part of the weights."""
        return self.sharding in ("zero3", "fsdp")


def check_known(recipe: Recipe) -> None:
    """Raise `NoProjectionError` where a recipe sets what the arithmetic does not know."""
    args, model = recipe.training, recipe.model
    optimizer = getattr(args.optim, "value", args.optim)
    if model.model_name_or_path is None:
        raise NoProjectionError("the recipe names no model")
    if args.max_completion_length is None:
        raise NoProjectionError("max_completion_length is not set, so a completion may have any length")
    if optimizer not in OPTIMIZERS:
        raise NoProjectionError(f"optim {optimizer} is not known, {' and '.join(OPTIMIZERS)} are")
    for owner, names in ((args, ("deepspeed", "fsdp")), (model, ("load_in_8bit", "use_dora", "lora_modules_to_save"))):
        for name in names:
            if getattr(owner, name):
                raise NoProjectionError(f"the recipe sets {name}, which the arithmetic leaves out")


def workload_of(recipe: Recipe, shape: ModelShape, stage: PlannedStage, longest: int, launch: Launch) -> Workload:
    """Return what one GPU does in a stage; `longest` are the tokens of the longest completion in any stage."""
    args, model = recipe.training, recipe.model
    loading = {"dtype": model.dtype, "attn_implementation": model.attn_implementation, **(args.model_init_kwargs or {})}
    is_fp32, attention = "32" in str(loading["dtype"]), str(loading["attn_implementation"])
    colocated = args.use_vllm and args.vllm_mode == "colocate"
    fits = args.use_vllm and args.vllm_max_model_length is not None
    gpus = args.vllm_tensor_parallel_size
    engine = Engine(
        utilization=args.vllm_gpu_memory_utilization,
        tensor_parallel=gpus,
        max_length=args.vllm_max_model_length or shape.max_positions,
        max_sequences=args.per_device_train_batch_size * args.steps_per_generation * gpus,
        sleeps=args.vllm_enable_sleep_mode,
    )
    return Workload(
        shape=shape,
        adapter=_adapter(recipe, shape) if model.use_peft else None,
        weight_bytes=4 if is_fp32 else 2,
        compute_bytes=2 if args.bf16 or args.fp16 or launch.half or not is_fp32 else 4,
        quantized=model.load_in_4bit and model.use_peft,
        sharding=launch.sharding,
        num_processes=launch.num_processes,
        micro_batch=args.per_device_train_batch_size,
        prompt=args.vllm_max_model_length - longest if fits else DEFAULT_PROMPT,
        completion=stage.max_completion_length,
        sequences=stage.completions // launch.num_processes,
        checkpointing=args.gradient_checkpointing,
        attention="flash" if "flash" in attention else "eager" if attention == "eager" else "sdpa",
        reference=args.beta != 0.0 and not model.use_peft,
        engine=engine if colocated else None,
        generates=colocated or not args.use_vllm,
    )


def _adapter(recipe: Recipe, shape: ModelShape) -> Adapter:
    model = recipe.model
    targets = model.lora_target_modules or PEFT_TARGETS
    targets = [targets] if isinstance(targets, str) else list(targets)
    if targets == ["all-linear"]:
        targets = list(shape.linears)
    strange = [name for name in targets if name not in shape.linears]
    if strange or model.lora_target_parameters:
        raise NoProjectionError(f"LoRA on {(strange or model.lora_target_parameters)[0]} is not known")
    return Adapter(model.lora_r, tuple(targets), dropout=model.lora_dropout > 0.0)
