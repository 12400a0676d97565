"""Whether a run fits into its GPUs' memory, and where it does not, a change with which it would. By estimates."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from .launch import GPU
from .memory import GiB, Training, cache_tokens, engine_bytes, memory_of, totals
from .model_shape import Adapter


NEAR = 0.9  # of a GPU's memory, from which on a plan warns
Change = tuple[str, list[Training]]


@dataclass(frozen=True)
class Problem:
    """
    Why a run does not fit.

    Args:
        message (`str`):
            The sentence, without what to change.
        cause (`str`):
            The largest part, or `engine`.
    """

    message: str
    cause: str


def check_fit(trainings: Sequence[Training], gpu: GPU) -> None:
    """
    Refuse a run that does not fit.

    Args:
        trainings (sequence of `Training`):
            Of every stage.
        gpu (`GPU`):
            What it runs on.

    Raises:
        ValueError: with the stage, the largest part, and a change that makes it fit where there is a single one.
    """
    problem = find_problem(trainings, gpu)
    if problem is None:
        return
    for what, changed in _changes(list(trainings), problem):
        if find_problem(changed, gpu) is None:
            most = max(peak(training, gpu)[1] for training in changed) / GiB
            raise ValueError(f"{problem.message}: {what}, which needs about {most:.1f} GiB")
    raise ValueError(
        f"{problem.message}, and no single change makes it fit: take more processes or a larger GPU (--num_processes, "
        "--gpu), use_peft: true, or a smaller per_device_train_batch_size, max_completion_length or model"
    )


def find_problem(trainings: Sequence[Training], gpu: GPU) -> Problem | None:
    """The first reason why a run does not fit, or `None`."""
    for index, training in enumerate(trainings):
        problem = _engine_problem(training, gpu)
        if problem is not None:
            return Problem(f"by estimate, {problem}", "engine")
        moment, total = peak(training, gpu)
        if total > gpu.memory * GiB:
            parts = {name: sizes[moment] for name, sizes in memory_of(training, gpu.memory * GiB).items()}
            largest = max(parts, key=parts.get)
            return Problem(
                f"by estimate, stage {index} needs {total / GiB:.1f} GiB of each GPU's {gpu.memory} in `{moment}`, "
                f"{parts[largest] / GiB:.1f} of them for {largest}",
                largest,
            )
    return None


def peak(training: Training, gpu: GPU) -> tuple[str, float]:
    """The moment that needs most, and its bytes."""
    sizes = totals(memory_of(training, gpu.memory * GiB))
    moment = max(sizes, key=sizes.get)
    return moment, sizes[moment]


def near_limit(trainings: Sequence[Training], gpu: GPU) -> list[str]:
    """Of the stages that fit, those within a tenth of the GPU's memory, for people."""
    warnings = []
    for index, training in enumerate(trainings):
        moment, total = peak(training, gpu)
        if total > NEAR * gpu.memory * GiB:
            warnings.append(
                f"by estimate, stage {index} takes {total / GiB:.1f} of {gpu.memory} GiB in `{moment}`, which is "
                "nearer than the estimate is exact"
            )
    return warnings


def _engine_problem(t: Training, gpu: GPU) -> str | None:
    engine = t.engine
    if engine is None:
        return None
    if t.num_processes % engine.tensor_parallel:
        return f"vllm_tensor_parallel_size {engine.tensor_parallel} does not divide the {t.num_processes} processes"
    tokens = cache_tokens(t, gpu.memory * GiB)
    if tokens >= engine.max_length:
        return None
    share, (weights, work) = engine.utilization * gpu.memory, engine_bytes(t)
    if tokens < 0:
        return (
            f"vllm_gpu_memory_utilization {engine.utilization} is a share of {share:.1f} GiB, and the engine takes "
            f"{weights / GiB:.1f} for weights and {work / GiB:.1f} beside them"
        )
    return (
        f"with vllm_gpu_memory_utilization {engine.utilization} vLLM has a cache of {tokens:,} tokens, and a sequence "
        f"of its vllm_max_model_length has {engine.max_length:,}"
    )


def _changes(trainings: list[Training], problem: Problem) -> Iterator[Change]:
    """Changes to try, those first that act on the cause."""
    groups = {"engine": _engine(trainings), "passes": _passes(trainings), "states": _states(trainings)}
    first = {"engine": "engine", "vLLM": "engine", "activations": "passes", "logits": "passes"}
    order = [first.get(problem.cause, "states"), *groups]
    return chain.from_iterable(groups[name] for name in dict.fromkeys(order))


def _passes(trainings: list[Training]) -> Iterator[Change]:
    if not trainings[0].checkpointing:
        yield "set gradient_checkpointing: true", [replace(t, checkpointing=True) for t in trainings]
    batch, times = trainings[0].micro_batch, 2
    while batch % times == 0:
        yield (
            f"set per_device_train_batch_size to {batch // times}, and steps_per_generation and "
            f"gradient_accumulation_steps to {times} times what they are",
            [replace(t, micro_batch=batch // times) for t in trainings],
        )
        times *= 2


def _engine(trainings: list[Training]) -> Iterator[Change]:
    engine, processes = trainings[0].engine, trainings[0].num_processes
    if engine is None:
        return

    def changed(**values) -> list[Training]:
        return [replace(t, engine=replace(t.engine, **values)) for t in trainings]

    if not engine.sleeps:
        yield "set vllm_enable_sleep_mode: true", changed(sleeps=True)
    shares = [step / 20 for step in range(1, 20)]
    larger = [share for share in shares if share > engine.utilization]
    for share in [*larger, *(share for share in reversed(shares) if share < engine.utilization)]:
        yield f"set vllm_gpu_memory_utilization to {share:g}", changed(utilization=share)
    longest = max(t.prompt + t.completion for t in trainings)
    if longest < engine.max_length:
        yield f"set vllm_max_model_length to {longest}", changed(max_length=longest)
    for gpus in (2, 4, 8):
        if gpus > engine.tensor_parallel and processes % gpus == 0:
            sequences = engine.max_sequences // engine.tensor_parallel * gpus
            split = changed(tensor_parallel=gpus, max_sequences=sequences)
            yield f"set vllm_tensor_parallel_size to {gpus}", split


def _states(trainings: list[Training]) -> Iterator[Change]:
    own = trainings[0]
    if not own.shards_weights and own.num_processes > 1:
        yield (
            "shard the weights (--config_file accelerate_configs/zero3.yaml)",
            [replace(t, sharding="zero3") for t in trainings],
        )
    if own.adapter is None and own.num_processes == 1:
        adapter = Adapter(32, tuple(own.shape.linears))
        for quantized, how in ((False, ""), (True, ", load_in_4bit: true")):
            yield (
                f"train an adapter (use_peft: true, lora_target_modules: all-linear, lora_r: 32{how})",
                [replace(t, adapter=adapter, quantized=quantized) for t in trainings],
            )
    for times in (2, 4, 8, 16):
        yield (
            f"train on {own.num_processes * times} GPUs with ZeRO-3 (--config_file accelerate_configs/zero3.yaml "
            f"--num_processes {own.num_processes * times})",
            [_spread(t, times) for t in trainings],
        )


def _spread(t: Training, times: int) -> Training:
    return replace(t, sharding="zero3", num_processes=t.num_processes * times, sequences=t.sequences // times or 1)
