"""Bytes on each GPU in the four moments of a rollout; `docs/memory.md` derives every term."""

import math

from .launch import DEEPSPEED, SHARDS_WEIGHTS
from .workload import Workload


GiB = 2**30
MOMENTS = ("generate", "loss", "backward", "step")
OVERHEAD = 4 * GiB  # assumed: CUDA context, NCCL, what a sleeping engine keeps, the rollout's tensors, fragmentation
TILE_TOKENS, TILE_VOCAB = 4096, 32_768  # of logits: TRL 1.16, kernels/chunked_logprob.py and trainer/utils.py
# DeepSpeed's defaults, in parameters: a bucket of gradients, weights that stay gathered, come ahead, are updated
REDUCE_BUCKET, MAX_REUSE, PREFETCH, SUB_GROUP = 5e8, 1e9, 5e7, 1e9
NF4_BYTES = 0.5 + 4 / 64  # a 4-bit number, and one fp32 scale for 64 of them
BATCHED_TOKENS = 4096  # what TRL lets vLLM have in flight, and so the most sequences, too
ENGINE_WORK, ENGINE_LOGIT = 1 * GiB, 16  # assumed: tokens in flight and CUDA graphs; logits of a step, sorted


def memory_of(t: Workload, gpu_bytes: float) -> dict[str, dict[str, float]]:
    """Return bytes by part, then by moment, on a GPU of so many bytes; parts of 0 are left out."""
    kept, layer, logits = activation_bytes(t)
    share = 0.0 if t.engine is None else t.engine.utilization * gpu_bytes
    awake = 0.0 if t.engine is None or t.engine.sleeps else share
    bucket = REDUCE_BUCKET * t.compute_bytes if t.sharding in DEEPSPEED else 0.0
    always, at_once = (bucket, SUB_GROUP) if t.sharding == "zero3" else (0.0, math.inf)
    # DeepSpeed steps with gradients in fp32, cast from a flat tensor
    stepped = min(t.trained / t.num_processes, at_once) if t.sharding in DEEPSPEED else 0.0
    number = 4 if t.compute_bytes == 4 else 4 + t.compute_bytes
    # transformers' generate writes all completions of the process at once
    written = t.sequences * (t.prompt + t.completion) if t.generates and t.engine is None else 0
    parts = {name: (size,) * 4 for name, size in state_bytes(t).items()} | {
        "buckets": (always, bucket, bucket, always),
        "gathered weights": _gathered(t),
        "activations": (0.0, kept, kept + layer, 0.0),
        "logits": (0.0, logits, 0.0, 0.0),
        "fp32 gradients": (0.0, 0.0, 0.0, stepped * number),
        "KV cache of generate": (written * t.shape.kv_bytes * t.compute_bytes / 2, 0.0, 0.0, 0.0),
        "vLLM": (share, awake, awake, awake),
        "overhead": (OVERHEAD,) * 4,
    }
    return {name: dict(zip(MOMENTS, sizes, strict=True)) for name, sizes in parts.items() if any(sizes)}


def totals(memory: dict[str, dict[str, float]]) -> dict[str, float]:
    """Return bytes by moment, summed over all parts."""
    return {moment: sum(sizes[moment] for sizes in memory.values()) for moment in MOMENTS}


def state_bytes(t: Workload) -> dict[str, float]:
    """Return bytes that are there throughout: of weights, gradients, optimizer and reference model."""
    whole = t.shape.parameters
    weights_divisor = t.num_processes if t.sharding in SHARDS_WEIGHTS else 1
    states_divisor = t.num_processes if t.sharding != "ddp" else 1
    trained, gradient, optimizer = _bytes_per_trained(t)
    frozen = t.compute_bytes if t.sharding in DEEPSPEED else t.weight_bytes
    weights = whole * trained if t.adapter is None else _packed(t, frozen) + t.trained * trained
    return {
        "weights": weights / weights_divisor,
        "gradients": t.trained * gradient / states_divisor,
        "optimizer": t.trained * optimizer / states_divisor,
        "reference model": whole * frozen / weights_divisor if t.reference and t.adapter is None else 0.0,
    }


def activation_bytes(t: Workload) -> tuple[float, float, float]:
    """Return bytes that a micro-batch keeps until its layers run backward, that one layer takes then, and of logits."""
    s, number, tokens = t.shape, t.compute_bytes, t.micro_batch * (t.prompt + t.completion)
    residual = 4 if t.weight_bytes == 4 and t.sharding in ("none", "ddp") else number
    norm = s.hidden * (4 + 2 * residual + (number if number != residual else 0))
    per_token = 2 * norm + 5 * number * s.attention + 4 * number * s.intermediate
    if t.adapter is not None:
        casts = number if _bytes_per_trained(t)[0] != number else 0
        per_token += t.adapter.inputs(s) * (casts + (5 if t.adapter.dropout else 0))
    square = tokens * (t.prompt + t.completion)
    scores = {"flash": 0.0, "sdpa": number * square, "eager": (2 * number + 6) * s.heads * square}[t.attention]
    saved = tokens * per_token + scores
    layer = tokens * 2 * number * s.intermediate + (saved if t.checkpointing else 0.0)
    kept = s.layers * (tokens * s.hidden * residual if t.checkpointing else saved)
    kept += tokens * norm + {"flash": 0, "sdpa": 1, "eager": number}[t.attention] * square  # the mask
    scored = t.micro_batch * t.completion
    logits = min(scored, TILE_TOKENS) * TILE_VOCAB * number + scored * s.hidden * (2 * number + 4)
    if t.adapter is None:
        logits += s.embedding * (4 + number)  # the head's gradient in fp32, and as it is handed on
        if residual != number:
            logits += s.parameters * number  # autocast keeps what it has cast until the forward pass ends
    return kept, layer, logits


def engine_bytes(t: Workload) -> tuple[float, float]:
    """Return bytes of an engine's weights, and of its work beside weights and cache, on each of its GPUs."""
    work = ENGINE_WORK + ENGINE_LOGIT * t.shape.vocab * min(t.engine.max_sequences, BATCHED_TOKENS)
    return _packed(t, 2) / t.engine.tensor_parallel, work


def cache_token_bytes(t: Workload) -> float:
    """Return bytes of one token in the engine's KV cache, on each of its GPUs; a head is on one GPU at least."""
    return t.shape.kv_bytes / min(t.engine.tensor_parallel, t.shape.kv_heads)


def cache_tokens(t: Workload, gpu_bytes: float) -> int:
    """Return tokens that the engine's KV cache holds; below 0 where its share does not even hold its weights."""
    return math.floor((t.engine.utilization * gpu_bytes - sum(engine_bytes(t))) / cache_token_bytes(t))


def _packed(t: Workload, number: int) -> float:
    """Return bytes of all weights of so many bytes per number, apart from those that 4-bit loading packs."""
    packed = t.shape.linear_parameters if t.quantized else 0
    return (t.shape.parameters - packed) * number + packed * NF4_BYTES


def _bytes_per_trained(t: Workload) -> tuple[int, int, int]:
    """Return bytes of weight, gradient and optimizer per parameter with a gradient."""
    if t.sharding in DEEPSPEED:
        return t.compute_bytes, t.compute_bytes, 12  # its own fp32 copy, and two moments
    own = t.weight_bytes
    if t.sharding == "fsdp":
        own = 4 if t.compute_bytes == 2 else own
    elif t.adapter is not None:
        own = 2 if t.quantized else 4  # PEFT's adapters are fp32, TRL's on 4-bit weights bf16
    return own, own * (2 if t.sharding == "ddp" else 1), 2 * own  # DDP has its own copy of the gradients


def _gathered(t: Workload) -> tuple[float, ...]:
    """Return bytes of other processes' weights that are here, by moment."""
    shape, number = t.shape, t.compute_bytes
    if t.sharding not in SHARDS_WEIGHTS:
        return (0.0,) * 4
    if t.sharding == "zero3":
        layers, head = min(shape.parameters, MAX_REUSE + PREFETCH + shape.layer) * number, shape.embedding * number
    else:  # the layer and the one ahead, and the root's: embedding and head
        layers, head = (2 * shape.layer + (1 if shape.tied else 2) * shape.embedding) * number, 0.0
    if t.engine is None or (t.sharding == "zero3" and t.adapter is not None):  # an adapter is merged into all weights
        to_generate = (shape.parameters + (t.trained if t.adapter else 0)) * number
    else:  # one parameter after another goes to the engine
        to_generate = shape.embedding * (4 if t.sharding == "fsdp" and t.adapter is None else number)
    return (to_generate if t.generates else 0.0, layers + head, layers, 0.0)
