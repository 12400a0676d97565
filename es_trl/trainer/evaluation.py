"""Evaluations during training: pass@k of their completions, with random states of their own."""

import contextlib
import math
import random
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from accelerate.utils import is_peft_model, set_seed
from trl import GRPOTrainer

from ..common.temporarily import temporarily
from ..estimates.pass_at_k import table_of
from .rollout import OpenRollout


class Evaluation:
    """
    The right completions of one evaluation, counted by problem.

    A completion is right if every reward that it got is above 0, as in `python -m es_trl eval`.

    Args:
        ks (sequence of `int`):
            Values of k.
        samples (`int`):
            Completions per problem.
        problems (`int`):
            Number of problems. Those that follow in the last batch are there to fill it, and are not counted.
        functions (`int`):
            Number of the reward functions that judge the task; they come before all others.
    """

    def __init__(self, ks: Sequence[int], samples: int, problems: int, functions: int):
        self._ks, self._samples, self._problems, self._functions = ks, samples, problems, functions
        self._correct: list[int] = []

    def add(self, rewards: torch.Tensor) -> None:
        """Count the right completions of a batch from its `rewards`, `(completions of all processes, functions)`."""
        given = rewards[:, : self._functions]
        least = torch.where(given.isnan(), math.inf, given).amin(dim=1)  # NaN where a function gives no reward
        right = (least > 0) & ~given.isnan().all(dim=1)
        counts = right.view(-1, self._samples).sum(dim=1).tolist()
        self._correct += counts[: self._problems - len(self._correct)]

    def metrics(self, prefix: str) -> dict[str, float]:
        """Return the mean pass@k over the problems, from 0 to 1, by names as `PREFIX_pass@8`."""
        means = table_of(self._correct, self._samples, self._ks).mean(axis=0)
        return {f"{prefix}_pass@{k}": float(mean) for k, mean in zip(self._ks, means, strict=True)}


def count_problems(dataset: Any) -> int:
    """Return the number of problems, or raise for a stream, whose last batch may hold problems twice."""
    if not hasattr(dataset, "__len__"):
        raise ValueError(
            f"`eval_pass_at_k` needs an `eval_dataset` with a length, got {type(dataset).__name__}: load it without "
            "streaming"
        )
    return len(dataset)


@contextlib.contextmanager
def aside(trainer: GRPOTrainer, rollout: OpenRollout | None) -> Iterator[None]:
    """Keep an evaluation out of the time of the open `rollout`, and with `eval_pass_at_k` out of the run's states."""
    paused = contextlib.nullcontext() if rollout is None else rollout.paused()
    with paused, contextlib.nullcontext() if trainer.args.eval_pass_at_k is None else _apart(trainer):
        yield


@contextlib.contextmanager
def _apart(trainer: GRPOTrainer) -> Iterator[None]:
    """Let an evaluation draw from states of its own, so that the run continues as it would have without it."""
    args, process = trainer.args, trainer.accelerator.process_index
    seed = args.seed + process
    with contextlib.ExitStack() as stack:
        if args.use_vllm:
            seed = args.seed + process // args.vllm_tensor_parallel_size  # a group of processes samples together
            # The next rollout sends its weights again, which also empties the cache of the prompts.
            stack.enter_context(temporarily(trainer, _last_loaded_step=trainer._last_loaded_step))
            stack.enter_context(_as_before(trainer.model))
            if args.vllm_mode == "server":  # it draws from a state of its own, unless a request has a seed
                engine = trainer.vllm_generation
                own = {"seed": args.seed, **(engine.generation_kwargs or {})}
                stack.enter_context(temporarily(engine, generation_kwargs=own))
        stack.enter_context(_own_randomness(seed, trainer.accelerator.device))
        yield


@contextlib.contextmanager
def _own_randomness(seed: int, device: torch.device) -> Iterator[None]:
    """Seed Python's, NumPy's and torch's random states while the block runs, and restore them afterwards."""
    kind = "cuda" if device.type == "cpu" else device.type
    devices = [] if device.type == "cpu" else range(getattr(torch, kind).device_count())
    states = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices, device_type=kind):
        try:
            set_seed(seed)
            yield
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])


@contextlib.contextmanager
def _as_before(model: Any) -> Iterator[None]:
    """Restore the weights under adapters, which are merged for the engine and taken out again with rounding."""
    under = [weight for name, weight in model.named_parameters() if is_peft_model(model) and ".base_layer." in name]
    before = [weight.detach().to("cpu", copy=True) for weight in under]
    try:
        yield
    finally:
        with torch.no_grad():
            for weight, value in zip(under, before, strict=True):
                weight.copy_(value)
