"""Micro-batches that are cut into parts, for stages whose rollouts have more completions.

TRL always cuts a rollout into `steps_per_generation` micro-batches, so those of a larger rollout are larger. Each is
cut here into parts of at most `per_device_train_batch_size` completions. Every part has its own backward pass.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType
from trl import GRPOTrainer
from trl.trainer.utils import split_pixel_values_by_grid, split_tensor_dict, unsplit_pixel_values_by_grid

from ..common.temporarily import temporarily


class Parts:
    """
    The parts of the present micro-batch.

    Args:
        count (`int`, *optional*, defaults to `1`):
            Number of parts of each micro-batch, at least 1.
    """

    def __init__(self, count: int = 1):
        self.count = count
        self._waiting: list[dict[str, Any]] = []

    def take(self, prepare: Callable[[Any], dict[str, Any]], batch: Any) -> dict[str, Any]:
        """Return the next part; for the first part of a micro-batch, `prepare` makes the micro-batch from `batch`."""
        if not self._waiting:
            self._waiting = cut(prepare(batch), self.count)
        return self._waiting.pop(0)

    @property
    def is_last(self) -> bool:
        """Whether the latest part is the last one of its micro-batch."""
        return not self._waiting


def cut(micro_batch: dict[str, Any], count: int) -> list[dict[str, Any]]:
    """Return a micro-batch as `count` parts with the same number of completions."""
    parts = split_tensor_dict(split_pixel_values_by_grid(micro_batch), count)
    return [unsplit_pixel_values_by_grid(part) for part in parts]


@contextlib.contextmanager
def more_to_come(trainer: GRPOTrainer, model: torch.nn.Module) -> Iterator[None]:
    """
    Run the training step of a part that is not the last one of its micro-batch.

    Its backward pass adds to the gradients, but they are not reduced and no update follows. The micro-batch and the
    time of the update are counted only after the last part.
    """
    step = trainer._step
    with _unreduced(trainer.accelerator, model):
        yield
    if trainer._step % trainer.current_gradient_accumulation_steps == 0:
        trainer._current_train_step_time = trainer._metrics["train"]["step_time"].pop()
    trainer._step = step


@contextlib.contextmanager
def _unreduced(accelerator: Accelerator, model: torch.nn.Module) -> Iterator[None]:
    state = accelerator.gradient_state
    before = state.sync_gradients
    state._set_sync_gradients(False)  # where it is true, accelerate's DeepSpeed wrapper makes an update
    # ZeRO reduces gradients in every backward pass. DDP does so with sync_each_batch, which saves memory.
    reduces = accelerator.distributed_type == DistributedType.DEEPSPEED
    reduces = reduces or state.plugin_kwargs.get("sync_each_batch", False)
    try:
        with contextlib.nullcontext() if reduces else accelerator.no_sync(model):
            yield
    finally:
        state._set_sync_gradients(before)


@contextlib.contextmanager
def counted(trainer: GRPOTrainer, parts: int) -> Iterator[None]:
    """
    Let TRL's loss count `parts` micro-batches for each micro-batch of the configuration.

    TRL divides the loss by the number of micro-batches per update, or by a share of the rollout's tokens that depends
    on this number. With the larger number both are right for one part.
    """
    if parts == 1:
        yield
        return
    per_update, per_rollout = trainer.current_gradient_accumulation_steps, trainer.args.steps_per_generation
    with (
        temporarily(trainer, current_gradient_accumulation_steps=per_update * parts),
        temporarily(trainer.args, steps_per_generation=per_rollout * parts),
    ):
        yield
