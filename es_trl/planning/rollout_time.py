"""Seconds per rollout, projected from operations, bytes and two assumed efficiencies; `docs/memory.md` derives them."""

from dataclasses import dataclass

from ..config.config import ESGRPOConfig
from .launch import GPU
from .memory import GiB, cache_token_bytes, cache_tokens, engine_bytes
from .workload import Workload


# Assumptions: what is reached of the data sheet's numbers, and mean lengths beside the longest
FLOPS_EFFICIENCY, BANDWIDTH_EFFICIENCY, MEAN_LENGTH = 0.4, 0.6, 0.5


@dataclass(frozen=True)
class RolloutTime:
    """Seconds of one rollout."""

    generation: float | None  # None where another machine writes the completions
    scoring: float  # log-probabilities before the first update, of the policy and of a reference model
    updates: float

    @property
    def total(self) -> float:
        return (self.generation or 0.0) + self.scoring + self.updates


def rollout_time(t: Workload, gpu: GPU, args: ESGRPOConfig) -> RolloutTime:
    """Return the seconds of one rollout."""
    several = args.gradient_accumulation_steps % (args.steps_per_generation * args.num_iterations) != 0
    scores = several or (args.use_vllm and args.vllm_importance_sampling_correction)
    # TRL pads a micro-batch to the longest completion of the rollout, of which one is as long as it may be
    length = MEAN_LENGTH * t.prompt + t.completion
    forward = t.sequences * length * _forward_flops(t, length) / (FLOPS_EFFICIENCY * gpu.flops)
    # a frozen model has no gradients of weights; checkpointing adds a forward pass
    times = (3 if t.adapter is None else 2) + t.checkpointing
    scoring = (int(scores) + int(args.beta != 0.0)) * forward
    return RolloutTime(generation_time(t, gpu), scoring, args.num_iterations * times * forward)


def generation_time(t: Workload, gpu: GPU) -> float | None:
    """Return the seconds of writing the completions of a rollout, or `None` where a server writes them."""
    if not t.generates:
        return None
    prompt, completion = MEAN_LENGTH * t.prompt, MEAN_LENGTH * t.completion
    resident = prompt + completion / 2  # tokens of a sequence in the cache, while it is written
    if t.engine is None:
        gpus, sequences, batch = 1, t.sequences, float(t.sequences)
        weights, token = t.shape.parameters * t.compute_bytes, t.shape.kv_bytes * t.compute_bytes / 2
    else:
        gpus = t.engine.tensor_parallel
        sequences = t.sequences * gpus
        batch = max(1.0, min(sequences, t.engine.max_sequences, cache_tokens(t, gpu.memory * GiB) / resident))
        weights, token = engine_bytes(t)[0], cache_token_bytes(t)
    speed = FLOPS_EFFICIENCY * gpu.flops * gpus
    # a decoding step adds a token to each sequence; it reads weights and cache, or computes, whichever takes longer
    reading = (weights + batch * resident * token) / (BANDWIDTH_EFFICIENCY * gpu.bandwidth)
    computing = batch * _forward_flops(t, resident) / speed
    steps = max(t.completion, sequences * completion / batch)
    return steps * max(reading, computing) + sequences * prompt * _forward_flops(t, prompt) / speed


def _forward_flops(t: Workload, length: float) -> float:
    """Return operations per token of a forward pass: two per parameter, and its attention to `length` others."""
    return 2 * t.shape.active + 4 * t.shape.layers * t.shape.attention * length
