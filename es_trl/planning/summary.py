"""The projected memory and time of a recipe as text. `docs/guides/memory.md` derives the seconds per rollout."""

from dataclasses import dataclass

from ..common.shown import wrapped
from ..common.tables import as_table
from ..config.config import ESGRPOConfig
from ..curriculum.planned import PlannedStage
from ..recipe import Recipe
from .launch import GPU, NAMES, Launch
from .limits import check_fits
from .memory import MOMENTS, GiB, cache_token_bytes, cache_tokens, engine_bytes, memory_of, totals
from .model_shape import shape_of
from .workload import Workload, check_known, workload_of


CHECKED = ("llama", "mistral", "phi3", "qwen2", "qwen3")  # models whose layers docs/guides/memory.md covers
# Assumptions: the share of the data sheet's FLOP/s and bandwidth that is reached, and mean length / longest length
FLOPS_EFFICIENCY, BANDWIDTH_EFFICIENCY, MEAN_LENGTH = 0.4, 0.6, 0.5


def summarize(recipe: Recipe, stages: list[PlannedStage], num_rollouts: int | None, launch: Launch, gpu: GPU) -> str:
    """Return the memory and time of every stage as text, or raise a ValueError if a stage does not fit."""
    check_known(recipe)
    name = recipe.model.model_name_or_path
    shape = shape_of(name, recipe.model.model_revision)
    longest = max(stage.max_completion_length for stage in stages)
    work = [workload_of(recipe, shape, stage, longest, launch) for stage in stages]
    warnings = check_fits(work, gpu) + _warnings(recipe, work[0])
    head = f"{gpu.name} ({gpu.memory} GiB), {_gpus(launch.num_processes)}, {NAMES[launch.sharding]}, "
    head += f"{name} ({shape.parameters / 1e9:.3f} billion)"
    if launch.is_assumed:
        warnings.append("the plan assumes ZeRO-3: give the launch's accelerate config with --config_file")
    sections = [f"memory per GPU in GiB, projected and not measured: {head}"]
    sections += [_memory_table(index, own, gpu) for index, own in enumerate(work)]
    sections += [
        _time_table(recipe, stages, work, num_rollouts, gpu),
        "\n".join(wrapped(f"warning: {t}") for t in warnings),
    ]
    return "\n\n".join(filter(None, sections)) + "\n"


def _memory_table(index: int, t: Workload, gpu: GPU) -> str:
    memory = memory_of(t, gpu.memory * GiB)
    parts = {**memory, "in all": totals(memory)}
    rows = [(name, *(f"{sizes[moment] / GiB:.1f}" for moment in MOMENTS)) for name, sizes in parts.items()]
    table = as_table((f"stage {index}: {t.completion:,} tokens", *MOMENTS), rows)
    if t.engine is None:
        return table
    tokens, length, gpus = cache_tokens(t, gpu.memory * GiB), t.prompt + t.completion, t.engine.tensor_parallel
    sequences = f"{min(tokens // length, t.sequences * gpus):,} sequences of {length:,} tokens"
    cache = f"vLLM has a KV cache of {tokens:,} tokens on {_gpus(gpus)}"
    return f"{table}\n{cache}: {sequences} at once, of {t.sequences * gpus:,}"


def _time_table(recipe: Recipe, stages: list[PlannedStage], work: list[Workload], end: int | None, gpu: GPU) -> str:
    rows, whole = [], 0.0
    for stage, own, last in zip(stages, work, [*(stage.first for stage in stages[1:]), end], strict=True):
        times = rollout_time(own, gpu, recipe.training)
        seconds = (last - stage.first) * times.total if last else None
        whole += seconds or 0.0
        cells = (times.generation, times.scoring, times.updates, times.total, seconds)
        rows.append((f"stage {stage.index}", *map(_as_time, cells)))
    lines = {
        "time, projected and not measured": True,
        as_table(("", "generation", "old log-probs", "updates", "per rollout", "the stage"), rows): True,
        f"the run: {_as_time(whole)}": end,
        "(without generation on vLLM's server)": not work[0].generates,
        f"(prompts of up to {work[0].prompt:,} tokens; mean lengths {MEAN_LENGTH:.0%} of the longest; 40% of the peak "
        "FLOP/s and 60% of the bandwidth; all assumed: docs/guides/memory.md)": True,
        "(without the further generations of dynamic sampling and the savings of early exit)": (
            recipe.training.chooses_prompts
        ),
    }
    return "\n".join(line for line, is_shown in lines.items() if is_shown)


def _warnings(recipe: Recipe, t: Workload) -> list[str]:
    rate, kind = recipe.training.learning_rate, t.shape.kind
    in_16_bits = t.sharding in ("none", "ddp") and t.adapter is None and t.weight_bytes == 2
    warnings = {
        f"the 16-bit weights have no fp32 copy, so most updates with a learning rate of {rate:g} round to nothing: "
        "set dtype: float32, or launch with DeepSpeed or FSDP": in_16_bits and rate < 1e-4,
        f"the projection assumes layers like Llama's, and the activations of {kind} may need more": kind not in CHECKED,
        f"vllm_max_model_length leaves {t.prompt} tokens for a prompt: raise it": t.prompt < 128,
    }
    return [text for text, is_shown in warnings.items() if is_shown]


def _as_time(seconds: float | None) -> str:
    if seconds is None or seconds < 120.0:
        return "-" if seconds is None else f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200.0 else f"{seconds / 3600:.1f} h"


def _gpus(count: int) -> str:
    return f"{count} GPU{'s' if count > 1 else ''}"


@dataclass(frozen=True)
class RolloutTime:
    """Projected seconds of one rollout."""

    generation: float | None  # `None` if a vLLM server writes the completions
    scoring: float  # log-probabilities of policy and reference model, before the first update
    updates: float

    @property
    def total(self) -> float:
        """Seconds of all three together."""
        return (self.generation or 0.0) + self.scoring + self.updates


def rollout_time(t: Workload, gpu: GPU, args: ESGRPOConfig) -> RolloutTime:
    """Return the projected seconds of one rollout."""
    several = args.gradient_accumulation_steps % (args.steps_per_generation * args.num_iterations) != 0
    scores = several or (args.use_vllm and args.vllm_importance_sampling_correction)
    # TRL pads every micro-batch to the rollout's longest completion, which is assumed to have the maximum length
    length = MEAN_LENGTH * t.prompt + t.completion
    forward = t.sequences * length * _forward_flops(t, length) / (FLOPS_EFFICIENCY * gpu.flops)
    # Under an adapter the model's weights need no gradients. Checkpointing adds a forward pass.
    times = (3 if t.adapter is None else 2) + t.checkpointing
    scoring = (int(scores) + int(args.beta != 0.0)) * forward
    return RolloutTime(generation_time(t, gpu), scoring, args.num_iterations * times * forward)


def generation_time(t: Workload, gpu: GPU) -> float | None:
    """Return the projected seconds to write a rollout's completions, or `None` if a vLLM server writes them."""
    if not t.generates:
        return None
    prompt, completion = MEAN_LENGTH * t.prompt, MEAN_LENGTH * t.completion
    resident = prompt + completion / 2  # mean tokens of a sequence in the cache while it is written
    if t.engine is None:
        gpus, sequences, batch = 1, t.sequences, float(t.sequences)
        weights, token = t.shape.parameters * t.compute_bytes, t.shape.kv_bytes * t.compute_bytes / 2
    else:
        gpus = t.engine.tensor_parallel
        sequences = t.sequences * gpus
        batch = max(1.0, min(sequences, t.engine.max_sequences, cache_tokens(t, gpu.memory * GiB) / resident))
        weights, token = engine_bytes(t)[0], cache_token_bytes(t)
    speed = FLOPS_EFFICIENCY * gpu.flops * gpus
    # A decoding step adds a token to each sequence. It takes as long as reading weights and cache, or as computing.
    reading = (weights + batch * resident * token) / (BANDWIDTH_EFFICIENCY * gpu.bandwidth)
    computing = batch * _forward_flops(t, resident) / speed
    steps = max(t.completion, sequences * completion / batch)
    return steps * max(reading, computing) + sequences * prompt * _forward_flops(t, prompt) / speed


def _forward_flops(t: Workload, length: float) -> float:
    """Return the FLOPs per token of a forward pass: two per parameter, plus attention to `length` other tokens."""
    return 2 * t.shape.active + 4 * t.shape.layers * t.shape.attention * length
