"""More backward passes per update than the configuration counts, for stages whose rollouts are larger.

TRL cuts a rollout into `steps_per_generation` micro-batches whatever its size. Those of a larger rollout are cut again
here into parts, one backward pass each, so that none holds more completions than `per_device_train_batch_size`.
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
    The parts of TRL's present micro-batch.

    Args:
        count (`int`):
            Parts of each micro-batch, at least 1.
    """

    def __init__(self, count: int = 1):
        self.count = count
        self._waiting: list[dict[str, Any]] = []

    def take(self, prepare: Callable[[Any], dict[str, Any]], batch: Any) -> dict[str, Any]:
        """Return the next part; the first one of a micro-batch has it prepared from `batch`."""
        if not self._waiting:
            self._waiting = cut(prepare(batch), self.count)
        return self._waiting.pop(0)

    @property
    def is_last(self) -> bool:
        """Whether the part that was taken is the last one of its micro-batch."""
        return not self._waiting


def cut(micro_batch: dict[str, Any], count: int) -> list[dict[str, Any]]:
    """Return `count` parts of a micro-batch, of the same number of completions."""
    parts = split_tensor_dict(split_pixel_values_by_grid(micro_batch), count)
    return [unsplit_pixel_values_by_grid(part) for part in parts]


@contextlib.contextmanager
def more_to_come(trainer: GRPOTrainer, model: torch.nn.Module) -> Iterator[None]:
    """
    Run a training step of one part that is not the last one of its micro-batch.

    Its backward pass adds to the gradients, which are neither reduced nor used. TRL counts a micro-batch, and the time
    of an update, after the last part.
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
    state._set_sync_gradients(False)  # accelerate's DeepSpeed wrapper steps where it is true
    # ZeRO reduces in every backward pass, and so does DDP with sync_each_batch, which saves memory
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
    Let TRL's loss count `parts` micro-batches where the configuration counts one.

    It divides by the micro-batches of an update, or by its share of the rollout's tokens; both hold for the larger
    number then.
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
