"""Refusals of a run that does not fit into its GPUs, each with the setting to change."""

import math
from collections.abc import Sequence
from dataclasses import replace

from .launch import GPU
from .memory import BATCHED_TOKENS, GiB, cache_token_bytes, engine_bytes, memory_of, totals
from .workload import Workload


NEAR = 0.9  # share of a GPU's memory from which on a plan warns, and that a named number stays below
# Parts that shrink together; all others shrink with the launch
_PASSING, _MODEL = "activations and logits", "weights, gradients and optimizer"
_GROUPS = {"activations": _PASSING, "logits": _PASSING, "vLLM": "vLLM", "KV cache of generate": "KV cache of generate"}


def check_fits(stages: Sequence[Workload], gpu: GPU) -> None:
    """
    Raise unless every stage fits.

    Raises:
        ValueError: with the stage, the moment, the largest part and the setting with which that part shrinks.
    """
    for index, stage in enumerate(stages):
        if stage.engine is not None:
            _check_engine(stages, stage, gpu)
        moment, total = peak(stage, gpu)
        if total <= gpu.memory * GiB:
            continue
        groups: dict[str, float] = {}
        for name, sizes in memory_of(stage, gpu.memory * GiB).items():
            if name != "overhead":
                group = _GROUPS.get(name, _MODEL)
                groups[group] = groups.get(group, 0.0) + sizes[moment]
        largest = max(groups, key=groups.get)
        raise ValueError(
            f"stage {index} is projected to need {total / GiB:.1f} of {gpu.memory} GiB per GPU in `{moment}`, "
            f"{groups[largest] / GiB:.1f} of them for {largest}: {_setting(largest, moment, stages, gpu)}"
        )


def near_limit(stages: Sequence[Workload], gpu: GPU) -> list[str]:
    """Return a warning per stage that takes over nine tenths of the GPU's memory."""
    peaks = [peak(stage, gpu) for stage in stages]
    return [
        f"stage {index} is projected to take {total / GiB:.1f} of {gpu.memory} GiB per GPU in `{moment}`, nearer to "
        "the limit than the projection is exact"
        for index, (moment, total) in enumerate(peaks)
        if total > NEAR * gpu.memory * GiB
    ]


def peak(stage: Workload, gpu: GPU) -> tuple[str, float]:
    """Return the moment that needs most, and its bytes."""
    sizes = totals(memory_of(stage, gpu.memory * GiB))
    moment = max(sizes, key=sizes.get)
    return moment, sizes[moment]


def _check_engine(stages: Sequence[Workload], t: Workload, gpu: GPU) -> None:
    engine, processes = t.engine, t.num_processes
    if processes % engine.tensor_parallel:
        raise ValueError(
            f"`vllm_tensor_parallel_size` must divide the {processes} processes, got {engine.tensor_parallel}: set "
            f"{math.gcd(processes, engine.tensor_parallel)}"
        )
    if engine.max_sequences > BATCHED_TOKENS:
        raise ValueError(
            "per_device_train_batch_size x steps_per_generation x vllm_tensor_parallel_size must be at most "
            f"{BATCHED_TOKENS:,}, the sequences that TRL lets vLLM write at once, got {engine.max_sequences:,}: lower "
            "one of the three, or train on more GPUs"
        )
    weights, work = engine_bytes(t)
    sequence = engine.max_length * cache_token_bytes(t)
    if engine.utilization * gpu.memory * GiB < weights + work + sequence:
        raise ValueError(
            f"vllm_gpu_memory_utilization {engine.utilization} gives vLLM {engine.utilization * gpu.memory:.1f} GiB, "
            f"and it is projected to need {weights / GiB:.1f} for weights, {work / GiB:.1f} beside them and "
            f"{sequence / GiB:.1f} for one sequence of {engine.max_length:,} tokens: {_utilization(stages, gpu)}"
        )


def _setting(group: str, moment: str, stages: Sequence[Workload], gpu: GPU) -> str:
    """Return what to set, so that a group of parts shrinks."""
    own = stages[0]
    if group == _PASSING and not own.checkpointing:
        return "set gradient_checkpointing: true"
    if group == _PASSING:
        for size in (n for n in range(own.micro_batch // 2, 0, -1) if own.micro_batch % n == 0):
            if _fit([replace(t, micro_batch=size) for t in stages], gpu):
                return (
                    f"set per_device_train_batch_size to {size}, and steps_per_generation and "
                    f"gradient_accumulation_steps to {own.micro_batch // size} times their values"
                )
        return "set a lower max_completion_length"
    if group == "KV cache of generate":
        return "set use_vllm: true"
    if group == "vLLM":
        return _utilization(stages, gpu) if moment == "generate" else "set vllm_enable_sleep_mode: true"
    if own.num_processes > 1 and not own.shards_weights:
        return "shard the weights with --config_file accelerate_configs/zero3.yaml"
    if own.num_processes == 1 and own.adapter is None:
        return "set use_peft: true, or train on more GPUs with --config_file accelerate_configs/zero3.yaml"
    for times in (2, 4, 8, 16):
        count = own.num_processes * times
        if _fit([replace(t, num_processes=count, sharding="zero3") for t in stages], gpu):
            return (
                f"train on {count} GPUs with ZeRO-3 (--num_processes {count}), and steps_per_generation and "
                f"gradient_accumulation_steps divided by {times}"
            )
    return "take a larger GPU or a smaller model"


def _utilization(stages: Sequence[Workload], gpu: GPU) -> str:
    """Return the utilization with which the engine works and all stages fit, where there is one."""
    own, lowest, highest = stages[0], 0.0, 1.0
    for t in stages:
        sizes = totals(memory_of(replace(t, engine=replace(t.engine, utilization=0.0)), 0.0))
        others = sizes["generate"] if t.engine.sleeps else max(sizes.values())
        needed = sum(engine_bytes(t)) + t.engine.max_length * cache_token_bytes(t)
        lowest = max(lowest, math.ceil(100 * needed / (gpu.memory * GiB)) / 100)
        highest = min(highest, math.floor(100 * (NEAR - others / (gpu.memory * GiB))) / 100)
    if lowest <= highest:
        return f"set vllm_gpu_memory_utilization to {lowest if own.engine.utilization < lowest else highest:g}"
    if own.engine.tensor_parallel < own.num_processes:
        return "raise vllm_tensor_parallel_size, by which vLLM's weights are divided"
    return "take a larger GPU or a smaller model"


def _fit(stages: Sequence[Workload], gpu: GPU) -> bool:
    return all(peak(stage, gpu)[1] <= NEAR * gpu.memory * GiB for stage in stages)
