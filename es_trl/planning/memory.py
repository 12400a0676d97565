"""Bytes on each GPU at the four moments of a rollout. `docs/guides/memory.md` derives every term."""

import math

from .launch import DEEPSPEED, SHARDS_WEIGHTS
from .workload import Workload


GiB = 2**30
MOMENTS = ("generate", "loss", "backward", "step")
OVERHEAD = 4 * GiB  # assumed: CUDA context, NCCL, a sleeping engine's rest, the rollout's tensors, fragmentation
TILE_TOKENS, TILE_VOCAB = 4096, 32_768  # tile of logits in TRL 1.16: kernels/chunked_logprob.py, trainer/utils.py
# DeepSpeed's defaults, in parameters: size of a gradient bucket, of the weights that stay gathered, of the weights that
# are gathered ahead, and of the group that one optimizer step updates at a time
REDUCE_BUCKET, MAX_REUSE, PREFETCH, SUB_GROUP = 5e8, 1e9, 5e7, 1e9
NF4_BYTES = 0.5 + 4 / 64  # a 4-bit number, and one fp32 scale per 64 numbers
BATCHED_TOKENS = 4096  # TRL's limit of tokens per vLLM step, which also limits the sequences
ENGINE_WORK = 1 * GiB  # assumed: activations of a step and CUDA graphs
ENGINE_LOGIT = 16  # assumed: bytes per logit of a step, which vLLM sorts


def memory_of(t: Workload, gpu_bytes: float) -> dict[str, dict[str, float]]:
    """Return the bytes of each part at each moment, on a GPU with `gpu_bytes` of memory. Empty parts are left out."""
    kept, layer, logits = activation_bytes(t)
    share = 0.0 if t.engine is None else t.engine.utilization * gpu_bytes
    awake = 0.0 if t.engine is None or t.engine.sleeps else share
    bucket = REDUCE_BUCKET * t.compute_bytes if t.sharding in DEEPSPEED else 0.0
    always, at_once = (bucket, SUB_GROUP) if t.sharding == "zero3" else (0.0, math.inf)
    # DeepSpeed's optimizer casts a flat tensor of gradients to fp32
    stepped = min(t.trained / t.num_processes, at_once) if t.sharding in DEEPSPEED else 0.0
    number = 4 if t.compute_bytes == 4 else 4 + t.compute_bytes
    # The generate method of transformers writes all completions of the process at once
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
    """Return the bytes at each moment, summed over all parts."""
    return {moment: sum(sizes[moment] for sizes in memory.values()) for moment in MOMENTS}


def state_bytes(t: Workload) -> dict[str, float]:
    """Return the bytes of the parts that stay through the rollout: weights, gradients, optimizer, reference model."""
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
    """
    Return the bytes of a micro-batch's activations, at most: as with TRL's padding and its attention mask.

    Returns:
        `(float, float, float)`: bytes that stay until the backward pass, bytes that one layer adds in the backward
        pass, and bytes of the logits.
    """
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
    kept += tokens * norm + {"flash": 0, "sdpa": 1, "eager": number}[t.attention] * square  # attention mask
    scored = t.micro_batch * t.completion
    logits = min(scored, TILE_TOKENS) * TILE_VOCAB * number + scored * s.hidden * (2 * number + 4)
    if t.adapter is None:
        logits += s.embedding * (4 + number)  # gradient of the head in fp32, and its cast
        if residual != number:
            logits += s.parameters * number  # autocast keeps its casts until the forward pass ends
    return kept, layer, logits


def engine_bytes(t: Workload) -> tuple[float, float]:
    """Return the bytes of vLLM's weights and of its work space (without KV cache), on each of its GPUs."""
    work = ENGINE_WORK + ENGINE_LOGIT * t.shape.vocab * min(t.engine.max_sequences, BATCHED_TOKENS)
    return _packed(t, 2) / t.engine.tensor_parallel, work


def cache_token_bytes(t: Workload) -> float:
    """Return the bytes of one token in vLLM's KV cache, on each of its GPUs. A head cannot be split between GPUs."""
    return t.shape.kv_bytes / min(t.engine.tensor_parallel, t.shape.kv_heads)


def cache_tokens(t: Workload, gpu_bytes: float) -> int:
    """Return the tokens that vLLM's KV cache holds. It is negative if vLLM's share is too small for its weights."""
    return math.floor((t.engine.utilization * gpu_bytes - sum(engine_bytes(t))) / cache_token_bytes(t))


def _packed(t: Workload, number: int) -> float:
    """Return the bytes of all weights, with `number` bytes per weight that 4-bit loading does not pack."""
    packed = t.shape.linear_parameters if t.quantized else 0
    return (t.shape.parameters - packed) * number + packed * NF4_BYTES


def _bytes_per_trained(t: Workload) -> tuple[int, int, int]:
    """Return the bytes of weight, gradient and optimizer per trained parameter."""
    if t.sharding in DEEPSPEED:
        return t.compute_bytes, t.compute_bytes, 12  # an fp32 copy, and two moments
    own = t.weight_bytes
    if t.sharding == "fsdp":
        own = 4 if t.compute_bytes == 2 else own
    elif t.adapter is not None:
        own = 2 if t.quantized else 4  # adapters are fp32, or bf16 on 4-bit weights
    return own, own * (2 if t.sharding == "ddp" else 1), 2 * own  # DDP keeps a copy of the gradients


def _gathered(t: Workload) -> tuple[float, ...]:
    """Return, for each moment, the bytes of weights that this GPU has gathered from other processes."""
    shape, number = t.shape, t.compute_bytes
    if t.sharding not in SHARDS_WEIGHTS:
        return (0.0,) * 4
    if t.sharding == "zero3":
        layers, head = min(shape.parameters, MAX_REUSE + PREFETCH + shape.layer) * number, shape.embedding * number
    else:  # two layers (the next one is gathered ahead), and the root module's embedding and head
        layers, head = (2 * shape.layer + (1 if shape.tied else 2) * shape.embedding) * number, 0.0
    if t.engine is None or (t.sharding == "zero3" and t.adapter is not None):  # the adapter is merged into all weights
        to_generate = (shape.parameters + (t.trained if t.adapter else 0)) * number
    else:  # one parameter after another goes to the engine
        to_generate = shape.embedding * (4 if t.sharding == "fsdp" and t.adapter is None else number)
    return (to_generate if t.generates else 0.0, layers + head, layers, 0.0)
