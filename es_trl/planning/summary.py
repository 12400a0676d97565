"""Memory and time of a recipe as text, or its refusal where it cannot fit. All of it is estimated."""

from collections.abc import Sequence
from typing import Any

from ..config.config import ESGRPOConfig
from ..curriculum.stages import PlannedStage
from ..recipe import Recipe
from .fit import check_fit, near_limit
from .gpus import GPU, NAMES, Launch
from .memory import MOMENTS, Engine, GiB, Training, cache_tokens, memory_of, totals
from .model_shape import Adapter, ModelShape, NoEstimateError, shape_of
from .throughput import MEAN_LENGTH, rollout_time


DEFAULT_PROMPT = 1024  # tokens of the longest prompt, where no engine's length says it
FEW_TOKENS = 128  # for a prompt
OPTIMIZERS = ("adamw_torch", "adamw_torch_fused")
PEFT_TARGETS = ("q_proj", "v_proj")  # peft's own for these models, where a recipe names none


def estimate(
    recipe: Recipe, stages: Sequence[PlannedStage], num_rollouts: int | None, launch: Launch, gpu: tuple[str, GPU]
) -> str:
    """
    The estimates of a recipe, for people.

    Args:
        recipe (`Recipe`):
            What would run.
        stages (sequence of `PlannedStage`), num_rollouts (`int`, *optional*):
            Its stages, and the rollouts in the run.
        launch (`Launch`), gpu (`tuple[str, GPU]`):
            What it would run on, with the GPU's name.

    Raises:
        ValueError: where a stage does not fit.
        NoEstimateError: where something is not known.
    """
    name, card = gpu
    shape = _shape(recipe)
    trainings = [_training(recipe, shape, stage, stages, launch) for stage in stages]
    check_fit(trainings, card)
    gpus = f"{launch.num_processes} GPU{'s' if launch.num_processes > 1 else ''}"
    head = (
        f"memory of each GPU in GiB, estimated and not measured: {name} ({card.memory} GiB), {gpus}, "
        f"{NAMES[launch.sharding]}, {recipe.model.model_name_or_path} ({shape.parameters / 1e9:.3f} billion)"
    )
    sections = [head]
    sections += [_memory_table(index, training, card) for index, training in enumerate(trainings)]
    sections.append(_time_table(recipe.training, stages, trainings, num_rollouts, card))
    warnings = near_limit(trainings, card) + _precision_warnings(recipe, trainings[0])
    if trainings[0].prompt < FEW_TOKENS:
        warnings.append(
            f"vllm_max_model_length leaves {trainings[0].prompt} tokens for a prompt, which counts as that short here: "
            "raise it to what the longest prompt needs"
        )
    if launch.is_assumed:
        warnings.append("ZeRO-3 is assumed: name the launch's accelerate config with --config_file")
    sections.append("\n".join(f"warning: {warning}" for warning in warnings))
    return "\n\n".join(section for section in sections if section) + "\n"


def _memory_table(index: int, training: Training, gpu: GPU) -> str:
    memory = memory_of(training, gpu.memory * GiB)
    rows = [*memory.items(), ("in all", totals(memory))]
    title = f"stage {index}: {training.completion:,} tokens"
    lines = [f"{title:<24}" + "".join(f"{moment:>10}" for moment in MOMENTS)]
    lines += [f"{name:<24}" + "".join(f"{sizes[m] / GiB:>10.1f}" for m in MOMENTS) for name, sizes in rows]
    engine = training.engine
    if engine is not None:
        tokens, length = cache_tokens(training, gpu.memory * GiB), training.prompt + training.completion
        sequences = training.sequences * engine.tensor_parallel
        lines.append(
            f"vLLM has a KV cache of {tokens:,} tokens on {engine.tensor_parallel} GPU"
            f"{'s' if engine.tensor_parallel > 1 else ''}: {min(tokens // length, sequences):,} sequences of "
            f"{length:,} tokens at once, of {sequences:,}"
        )
    return "\n".join(lines)


def _time_table(
    args: ESGRPOConfig,
    stages: Sequence[PlannedStage],
    trainings: Sequence[Training],
    num_rollouts: int | None,
    gpu: GPU,
) -> str:
    generate_every = args.steps_per_generation * args.num_iterations
    scores = args.gradient_accumulation_steps % generate_every != 0
    scores = scores or (args.use_vllm and args.vllm_importance_sampling_correction)
    passes = int(scores) + int(args.beta != 0.0)
    ends = [*(stage.first for stage in stages[1:]), num_rollouts]
    rows = [("", "generation", "old log-probs", "updates", "a rollout", "the stage")]
    whole = 0.0
    for stage, training, end in zip(stages, trainings, ends, strict=True):
        times = rollout_time(training, gpu, passes, args.num_iterations)
        whole += (end - stage.first) * times.total if end else 0.0
        generation = "a server's" if times.generation is None else as_time(times.generation)
        parts = [as_time(times.scoring), as_time(times.updates), as_time(times.total)]
        rows.append(
            (f"stage {stage.index}", generation, *parts, as_time((end - stage.first) * times.total) if end else "-")
        )
    lines = ["time, estimated and not measured"]
    lines += ["".join(f"{cell:<15}" for cell in row).rstrip() for row in rows]
    if num_rollouts:
        lines.append(f"the run: {as_time(whole)}")
    prompt, mean = trainings[0].prompt, f"{MEAN_LENGTH:.0%}"
    lines.append(
        f"(prompts of up to {prompt:,} tokens; mean lengths {mean} of the longest; 40% of the peak FLOP/s and 60% of "
        "the bandwidth; all assumed: docs/memory.md)"
    )
    if getattr(args, "dynamic_sampling_tries", 0):
        lines.append("(without the further generations of dynamic sampling)")
    return "\n".join(lines)


def as_time(seconds: float) -> str:
    """Seconds for people."""
    if seconds < 120.0:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200.0 else f"{seconds / 3600:.1f} h"


def _precision_warnings(recipe: Recipe, training: Training) -> list[str]:
    rate = recipe.training.learning_rate
    bare = training.sharding in ("none", "ddp") and training.adapter is None and training.weight_bytes == 2
    if not bare or rate >= 1e-4:
        return []
    return [
        f"nothing here keeps an fp32 copy of the 16-bit weights, in which most steps of a learning rate of {rate:g} "
        "round to nothing: set dtype: float32, or launch with DeepSpeed or FSDP"
    ]


def _shape(recipe: Recipe) -> ModelShape:
    args, model = recipe.training, recipe.model
    optimizer = getattr(args.optim, "value", args.optim)
    if model.model_name_or_path is None:
        raise NoEstimateError("the recipe names no model")
    if args.max_completion_length is None:
        raise NoEstimateError("max_completion_length is not set, so a completion may have any length")
    if optimizer not in OPTIMIZERS:
        raise NoEstimateError(f"optim {optimizer} is not known, {' and '.join(OPTIMIZERS)} are")
    for owner, names in ((args, ("deepspeed", "fsdp")), (model, ("load_in_8bit", "use_dora", "lora_modules_to_save"))):
        for name in names:
            if getattr(owner, name):
                raise NoEstimateError(f"the recipe sets {name}, which the arithmetic leaves out")
    return shape_of(model.model_name_or_path, model.model_revision)


def _training(
    recipe: Recipe, shape: ModelShape, stage: PlannedStage, stages: Sequence[PlannedStage], launch: Launch
) -> Training:
    args, model = recipe.training, recipe.model
    loading = {"dtype": model.dtype, "attn_implementation": model.attn_implementation, **(args.model_init_kwargs or {})}
    attention = str(loading["attn_implementation"])
    longest = max(other.max_completion_length for other in stages)
    engine = _engine(args, shape) if args.use_vllm and args.vllm_mode == "colocate" else None
    fits = args.use_vllm and args.vllm_max_model_length is not None
    return Training(
        shape=shape,
        adapter=_adapter(model, shape) if model.use_peft else None,
        weight_bytes=4 if "32" in str(loading["dtype"]) else 2,
        compute_bytes=2 if args.bf16 or args.fp16 or launch.half or "32" not in str(loading["dtype"]) else 4,
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
        engine=engine,
        generates=not args.use_vllm or engine is not None,
    )


def _engine(args: ESGRPOConfig, shape: ModelShape) -> Engine:
    gpus = args.vllm_tensor_parallel_size
    return Engine(
        utilization=args.vllm_gpu_memory_utilization,
        tensor_parallel=gpus,
        max_length=args.vllm_max_model_length or shape.max_positions,
        max_sequences=args.per_device_train_batch_size * args.steps_per_generation * gpus,
        sleeps=args.vllm_enable_sleep_mode,
    )


def _adapter(model: Any, shape: ModelShape) -> Adapter:
    targets = model.lora_target_modules or PEFT_TARGETS
    targets = [targets] if isinstance(targets, str) else list(targets)
    if targets == ["all-linear"]:
        targets = list(shape.linears)
    strange = [name for name in targets if name not in shape.linears]
    if strange or model.lora_target_parameters:
        raise NoEstimateError(f"LoRA on {(strange or model.lora_target_parameters)[0]} is not known")
    return Adapter(model.lora_r, tuple(targets), dropout=model.lora_dropout > 0.0)
