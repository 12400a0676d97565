"""Memory and time of a recipe as text. All of it is projected, nothing measured."""

from collections.abc import Sequence

from ..common.tables import as_table
from ..curriculum.planned import PlannedStage
from ..recipe import Recipe
from .launch import GPU, NAMES, Launch
from .limits import check_fits, near_limit
from .memory import MOMENTS, GiB, cache_tokens, memory_of, totals
from .model_shape import shape_of
from .rollout_time import MEAN_LENGTH, rollout_time
from .workload import Workload, check_known, workload_of


FEW_TOKENS = 128  # for a prompt
CHECKED = ("llama", "mistral", "phi3", "qwen2", "qwen3")  # layers whose activations are those of docs/memory.md


def summarize(
    recipe: Recipe, stages: Sequence[PlannedStage], num_rollouts: int | None, launch: Launch, gpu: GPU
) -> str:
    """
    Return memory and time of every stage as text.

    Raises:
        ValueError: where a stage does not fit.
        NoProjectionError: where something is not known.
    """
    check_known(recipe)
    shape = shape_of(recipe.model.model_name_or_path, recipe.model.model_revision)
    longest = max(stage.max_completion_length for stage in stages)
    work = [workload_of(recipe, shape, stage, longest, launch) for stage in stages]
    check_fits(work, gpu)
    model = f"{recipe.model.model_name_or_path} ({shape.parameters / 1e9:.3f} billion)"
    launched = f"{_gpus(launch.num_processes)}, {NAMES[launch.sharding]}"
    head = f"{gpu.name} ({gpu.memory} GiB), {launched}, {model}"
    sections = [f"memory per GPU in GiB, projected and not measured: {head}"]
    sections += [_memory_table(index, own, gpu) for index, own in enumerate(work)]
    sections.append(_time_table(recipe, stages, work, num_rollouts, gpu))
    warnings = near_limit(work, gpu) + _warnings(recipe, work[0])
    if launch.is_assumed:
        warnings.append("ZeRO-3 is assumed: name the launch's accelerate config with --config_file")
    return "\n\n".join(sections + (["\n".join(f"warning: {text}" for text in warnings)] if warnings else [])) + "\n"


def _memory_table(index: int, t: Workload, gpu: GPU) -> str:
    memory = memory_of(t, gpu.memory * GiB)
    rows = [(name, *(f"{sizes[m] / GiB:.1f}" for m in MOMENTS)) for name, sizes in memory.items()]
    rows.append(("in all", *(f"{size / GiB:.1f}" for size in totals(memory).values())))
    table = as_table((f"stage {index}: {t.completion:,} tokens", *MOMENTS), rows)
    if t.engine is None:
        return table
    tokens, length = cache_tokens(t, gpu.memory * GiB), t.prompt + t.completion
    sequences = t.sequences * t.engine.tensor_parallel
    return (
        f"{table}\nvLLM has a KV cache of {tokens:,} tokens on {_gpus(t.engine.tensor_parallel)}: "
        f"{min(tokens // length, sequences):,} sequences of {length:,} tokens at once, of {sequences:,}"
    )


def _time_table(
    recipe: Recipe, stages: Sequence[PlannedStage], work: Sequence[Workload], num_rollouts: int | None, gpu: GPU
) -> str:
    ends = [*(stage.first for stage in stages[1:]), num_rollouts]
    rows, whole = [], 0.0
    for stage, own, end in zip(stages, work, ends, strict=True):
        times = rollout_time(own, gpu, recipe.training)
        seconds = (end - stage.first) * times.total if end else None
        whole += seconds or 0.0
        cells = (times.generation, times.scoring, times.updates, times.total, seconds)
        rows.append((f"stage {stage.index}", *("-" if cell is None else as_time(cell) for cell in cells)))
    header = ("", "generation", "old log-probs", "updates", "per rollout", "the stage")
    lines = ["time, projected and not measured", as_table(header, rows)]
    if num_rollouts:
        lines.append(f"the run: {as_time(whole)}")
    if work[0].engine is None and not work[0].generates:
        lines.append("(without generation on vLLM's server)")
    lines.append(
        f"(prompts of up to {work[0].prompt:,} tokens; mean lengths {MEAN_LENGTH:.0%} of the longest; 40% of the peak "
        "FLOP/s and 60% of the bandwidth; all assumed: docs/memory.md)"
    )
    if recipe.training.dynamic_sampling_tries:
        lines.append("(without the further generations of dynamic sampling)")
    return "\n".join(lines)


def _warnings(recipe: Recipe, t: Workload) -> list[str]:
    warnings, rate = [], recipe.training.learning_rate
    if t.sharding in ("none", "ddp") and t.adapter is None and t.weight_bytes == 2 and rate < 1e-4:
        warnings.append(
            "nothing here keeps an fp32 copy of the 16-bit weights, in which most steps of a learning rate of "
            f"{rate:g} round to nothing: set dtype: float32, or launch with DeepSpeed or FSDP"
        )
    if t.shape.kind not in CHECKED:
        warnings.append(f"activations are projected for layers like Llama's, and those of {t.shape.kind} may take more")
    if t.prompt < FEW_TOKENS:
        warnings.append(
            f"vllm_max_model_length leaves {t.prompt} tokens for a prompt: raise it to what the longest prompt needs"
        )
    return warnings


def as_time(seconds: float) -> str:
    """Return seconds as text for people."""
    if seconds < 120.0:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200.0 else f"{seconds / 3600:.1f} h"


def _gpus(count: int) -> str:
    return f"{count} GPU{'s' if count > 1 else ''}"
