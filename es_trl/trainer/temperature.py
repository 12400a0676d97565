"""The temperature of a stage: every place where TRL keeps a copy of the configuration's.

TRL divides the logits by the temperature both where it samples and in the fused head, which computes log-probabilities
and entropies. The head gets its temperature when the trainer is built.
"""

import contextlib
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import trl.trainer.utils
from trl import GRPOTrainer

from ..common.temporarily import temporarily


def sample_at(trainer: GRPOTrainer, temperature: float) -> None:
    """Set the temperature of the completions that the trainer samples, with transformers or vLLM."""
    trainer.temperature = temperature
    if trainer.use_vllm:
        trainer.vllm_generation.temperature = temperature
    elif "temperature" not in (trainer.args.generation_kwargs or {}):
        trainer.generation_config.temperature = temperature
        trainer.generation_kwargs["temperature"] = temperature


@contextlib.contextmanager
def sampled_at(trainer: GRPOTrainer, temperature: float | None) -> Iterator[None]:
    """Sample at another temperature in the block; `None` changes nothing."""
    if temperature is None:
        yield
        return
    before = trainer.temperature
    sample_at(trainer, temperature)
    try:
        yield
    finally:
        sample_at(trainer, before)


class TemperedHead:
    """A wrapper of a model whose fused head divides the logits by another temperature. TRL calls it like the model."""

    def __init__(self, model: Any, temperature: float) -> None:
        self._model, self._temperature = model, temperature

    def __call__(self, **inputs: Any) -> Any:
        function = trl.trainer.utils._ChunkedLogProbFunction  # TRL's, or that of the clamped entropy

        def apply(hidden: Any, weight: Any, bias: Any, targets: Any, _: float, *others: Any) -> Any:
            return function.apply(hidden, weight, bias, targets, self._temperature, *others)

        with temporarily(trl.trainer.utils, _ChunkedLogProbFunction=SimpleNamespace(apply=apply)):
            return self._model(**inputs)
