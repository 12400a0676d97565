"""Whether a run fits into its GPUs' memory, and where it does not, a change with which it would. By estimates."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from .gpus import GPU
from .memory import BATCHED_TOKENS, Engine, GiB, Training, cache_tokens, engine_bytes, memory_of, totals
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
            The largest part, or `engine`; `setting` where the message says what to set.
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
    if problem.cause == "setting":
        raise ValueError(problem.message)
    fitting = [change for change in _changes(list(trainings), problem) if find_problem(change[1], gpu) is None]
    # one that leaves room, where there is any
    fitting.sort(key=lambda change: _highest(change[1], gpu) > NEAR * gpu.memory * GiB)
    if fitting:
        what, changed = fitting[0]
        raise ValueError(f"{problem.message}: {what}, which needs about {_highest(changed, gpu) / GiB:.1f} GiB")
    raise ValueError(
        f"{problem.message}, and no single change makes it fit: take more processes or a larger GPU (--num_processes, "
        "--gpu), use_peft: true, or a smaller per_device_train_batch_size, max_completion_length or model"
    )


def find_problem(trainings: Sequence[Training], gpu: GPU) -> Problem | None:
    """The first reason why a run does not fit, or `None`."""
    for index, training in enumerate(trainings):
        problem = _engine_problem(training, gpu)
        if problem is not None:
            return problem
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


def _highest(trainings: Sequence[Training], gpu: GPU) -> float:
    return max(peak(training, gpu)[1] for training in trainings)


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


def _engine_problem(t: Training, gpu: GPU) -> Problem | None:
    engine = t.engine
    if engine is None:
        return None
    if t.num_processes % engine.tensor_parallel:
        return Problem(
            f"vllm_tensor_parallel_size is {engine.tensor_parallel} and there are {t.num_processes} processes, which "
            "engines of as many GPUs share: set it to a divisor of that",
            "setting",
        )
    if engine.max_sequences > BATCHED_TOKENS:
        return Problem(
            f"an engine of vLLM writes at most {BATCHED_TOKENS:,} sequences at once here, and TRL asks it for "
            f"per_device_train_batch_size x steps_per_generation x vllm_tensor_parallel_size = "
            f"{engine.max_sequences:,}: lower one of the three, or train on more GPUs",
            "setting",
        )
    tokens = cache_tokens(t, gpu.memory * GiB)
    if tokens >= engine.max_length:
        return None
    share, (weights, work) = engine.utilization * gpu.memory, engine_bytes(t)
    if tokens < 0:
        return Problem(
            f"by estimate, vllm_gpu_memory_utilization {engine.utilization} is a share of {share:.1f} GiB, and the "
            f"engine takes {weights / GiB:.1f} for weights and {work / GiB:.1f} beside them",
            "engine",
        )
    return Problem(
        f"by estimate, with vllm_gpu_memory_utilization {engine.utilization} vLLM has a cache of {tokens:,} tokens, "
        f"and a sequence of its vllm_max_model_length has {engine.max_length:,}",
        "engine",
    )


def _changes(trainings: list[Training], problem: Problem) -> Iterator[Change]:
    """Changes to try, those first that act on the cause."""
    groups = {"engine": _engine(trainings), "passes": _passes(trainings), "states": _states(trainings)}
    engine = dict.fromkeys(("engine", "vLLM", "KV cache of generate"), "engine")
    first = {**engine, "activations": "passes", "logits": "passes"}.get(problem.cause, "states")
    order = [first, *groups]
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
    longest = max(t.prompt + t.completion for t in trainings)
    if engine is None:
        if trainings[0].generates:
            engine = Engine(0.4, 1, longest, max(t.sequences for t in trainings), sleeps=True)
            yield (
                f"set use_vllm: true, with vllm_gpu_memory_utilization: 0.4, vllm_max_model_length: {longest} and "
                "vllm_enable_sleep_mode: true",
                [replace(t, engine=engine) for t in trainings],
            )
        return

    def changed(**values) -> list[Training]:
        return [replace(t, engine=replace(t.engine, **values)) for t in trainings]

    if not engine.sleeps:
        yield "set vllm_enable_sleep_mode: true", changed(sleeps=True)
    shares = [step / 20 for step in range(1, 20)]
    larger = [share for share in shares if share > engine.utilization]
    for share in [*larger, *(share for share in reversed(shares) if share < engine.utilization)]:
        yield f"set vllm_gpu_memory_utilization to {share:g}", changed(utilization=share)
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
    if own.num_processes == 1:
        lora = [replace(t, adapter=t.adapter or Adapter(32, tuple(t.shape.linears))) for t in trainings]
        how = "use_peft: true, lora_target_modules: all-linear, lora_r: 32, lora_dropout: 0"
        if own.adapter is None:
            yield f"train an adapter ({how})", lora
        yield (
            f"train an adapter on 4-bit weights ({'' if own.adapter else how + ', '}load_in_4bit: true)",
            [replace(t, quantized=True) for t in lora],
        )
    for times in (2, 4, 8, 16):
        gpus = own.num_processes * times
        config = "zero3" if gpus <= 8 else "zero3_multinode"
        yield (
            f"train on {gpus} GPUs with ZeRO-3 (--config_file accelerate_configs/{config}.yaml --num_processes {gpus}, "
            f"and steps_per_generation and gradient_accumulation_steps {times} times smaller, as far as they go)",
            [_spread(t, times) for t in trainings],
        )


def _spread(t: Training, times: int) -> Training:
    engine = t.engine and replace(t.engine, max_sequences=t.engine.max_sequences // times or 1)
    sequences = t.sequences // times or 1
    return replace(t, sharding="zero3", num_processes=t.num_processes * times, sequences=sequences, engine=engine)
