"""Errors for runs that do not fit into their GPUs. Each names the setting to change."""

import math
from collections import Counter
from dataclasses import replace

from .launch import GPU, SHARDS_WEIGHTS
from .memory import BATCHED_TOKENS, GiB, cache_token_bytes, engine_bytes, memory_of, totals
from .workload import Workload


NEAR = 0.9  # share of a GPU's memory above which a plan warns; advised values stay below it
# Parts that shrink with the same setting. All parts that are not named here shrink with the sharding.
_PER_MICRO_BATCH, _MODEL = "activations and logits", "weights, gradients and optimizer"
_GROUPS = {name: name for name in ("vLLM", "KV cache of generate", "overhead")}
_GROUPS |= {"activations": _PER_MICRO_BATCH, "logits": _PER_MICRO_BATCH}
_NO_SETTING = "take a larger GPU or a smaller model"


def check_fits(stages: list[Workload], gpu: GPU) -> list[str]:
    """Return a warning per stage that takes nearly all of the GPU's memory, or raise if one does not fit."""
    warnings = []
    for index, stage in enumerate(stages):
        if stage.engine is not None:
            _check_engine(stages, stage, gpu)
        moment, total = _peak(stage, gpu)
        needs = f"{total / GiB:.1f} GiB per GPU in `{moment}` ({gpu.name} has {gpu.memory} GiB)"
        if total > gpu.memory * GiB:
            groups: Counter[str] = Counter()
            for name, sizes in memory_of(stage, gpu.memory * GiB).items():
                groups[_GROUPS.get(name, _MODEL)] += sizes[moment]
            del groups["overhead"]
            largest = max(groups, key=groups.get)
            raise ValueError(
                f"stage {index} is projected to need {needs}, {groups[largest] / GiB:.1f} GiB of it for {largest}: "
                f"{_setting(largest, moment, stages, gpu)}"
            )
        if total > NEAR * gpu.memory * GiB:
            warnings.append(f"stage {index} is projected to take {needs}, so it may not fit")
    return warnings


def _peak(stage: Workload, gpu: GPU) -> tuple[str, float]:
    """Return the moment with the largest need of memory, and its bytes."""
    return max(totals(memory_of(stage, gpu.memory * GiB)).items(), key=lambda item: item[1])


def _check_engine(stages: list[Workload], t: Workload, gpu: GPU) -> None:
    engine, fitting = t.engine, math.gcd(t.num_processes, t.engine.tensor_parallel)
    if fitting != engine.tensor_parallel:
        parts = f"must divide the {t.num_processes} processes, got {engine.tensor_parallel}"
        raise ValueError(f"`vllm_tensor_parallel_size` {parts}: set {fitting}")
    if engine.max_sequences > BATCHED_TOKENS:
        sizes = "per_device_train_batch_size x steps_per_generation x vllm_tensor_parallel_size"
        must = f"must be at most {BATCHED_TOKENS:,} (sequences in TRL's vLLM), got {engine.max_sequences:,}"
        raise ValueError(f"{sizes} {must}: lower one of the three")
    (weights, work), sequence = engine_bytes(t), engine.max_length * cache_token_bytes(t)
    if engine.utilization * gpu.memory * GiB < weights + work + sequence:
        raise ValueError(
            f"`vllm_gpu_memory_utilization` {engine.utilization} gives vLLM {engine.utilization * gpu.memory:.1f} GiB, "
            f"but vLLM is projected to need {weights / GiB:.1f} GiB for weights, {work / GiB:.1f} GiB for its work and "
            f"{sequence / GiB:.1f} GiB for one sequence of {engine.max_length:,} tokens: {_utilization(stages, gpu)}"
        )


def _setting(group: str, moment: str, stages: list[Workload], gpu: GPU) -> str:
    """Return advice that shrinks a group of parts."""
    own, scaled = stages[0], "steps_per_generation and gradient_accumulation_steps"
    if group == _PER_MICRO_BATCH and not own.checkpointing:
        return "set gradient_checkpointing: true"
    if group == _PER_MICRO_BATCH and own.cuts_by_tokens:
        longest = max(t.prompt + t.completion for t in stages)
        for size in range(max(t.micro_batch for t in stages), 0, -1):
            if _fit([t.with_budget(size * longest) for t in stages], gpu):
                return f"set max_tokens_per_micro_batch to {size * longest}"
        return "set a lower max_completion_length"
    if group == _PER_MICRO_BATCH:
        for size in (n for n in range(own.micro_batch // 2, 0, -1) if own.micro_batch % n == 0):
            if _fit([replace(t, micro_batch=size) for t in stages], gpu):
                times = own.micro_batch // size
                return f"set per_device_train_batch_size to {size}, and multiply {scaled} by {times}"
        return "set a lower max_completion_length"
    if group == "KV cache of generate":
        return "set use_vllm: true"
    if group == "vLLM":
        return _utilization(stages, gpu) if moment == "generate" else "set vllm_enable_sleep_mode: true"
    if own.num_processes > 1 and own.sharding not in SHARDS_WEIGHTS:
        return "shard the weights with --config_file accelerate_configs/zero3.yaml"
    if own.num_processes == 1 and own.adapter is None:
        return "set use_peft: true, or train on more GPUs with --config_file accelerate_configs/zero3.yaml"
    for times in (2, 4, 8, 16):
        count = own.num_processes * times
        if _fit([replace(t, num_processes=count, sharding="zero3") for t in stages], gpu):
            return f"train on {count} GPUs with ZeRO-3 (--num_processes {count}), and divide {scaled} by {times}"
    return _NO_SETTING


def _utilization(stages: list[Workload], gpu: GPU) -> str:
    """Return the advice to set a utilization with which vLLM works and all stages fit, or else another advice."""
    own, whole, lowest, highest = stages[0], gpu.memory * GiB, 0.0, 1.0
    for t in stages:
        sizes = totals(memory_of(replace(t, engine=replace(t.engine, utilization=0.0)), 0.0))
        others = sizes["generate"] if t.engine.sleeps else max(sizes.values())
        needed = sum(engine_bytes(t)) + t.engine.max_length * cache_token_bytes(t)
        lowest = max(lowest, math.ceil(100 * needed / whole) / 100)
        highest = min(highest, math.floor(100 * (NEAR - others / whole)) / 100)
    if lowest <= highest:
        return f"set vllm_gpu_memory_utilization to {lowest if own.engine.utilization < lowest else highest:g}"
    split = own.engine.tensor_parallel < own.num_processes
    return "raise vllm_tensor_parallel_size, so that more GPUs share vLLM's weights" if split else _NO_SETTING


def _fit(stages: list[Workload], gpu: GPU) -> bool:
    return all(_peak(stage, gpu)[1] <= NEAR * gpu.memory * GiB for stage in stages)
