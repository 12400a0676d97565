"""More micro-batches in one update than the configuration counts, for stages whose rollouts are larger.

TRL cuts a rollout into `steps_per_generation` micro-batches whatever its size. Those of a larger rollout are cut again
here, one backward pass each, so that no pass holds more completions than `per_device_train_batch_size`.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType
from trl.trainer.utils import split_pixel_values_by_grid, split_tensor_dict, unsplit_pixel_values_by_grid

from ..common.temporarily import temporarily


def cut(micro_batch: dict[str, Any], passes: int) -> list[dict[str, Any]]:
    """`passes` parts of a micro-batch, of the same number of completions."""
    parts = split_tensor_dict(split_pixel_values_by_grid(micro_batch), passes)
    return [unsplit_pixel_values_by_grid(part) for part in parts]


@contextlib.contextmanager
def more_to_come(accelerator: Accelerator, model: torch.nn.Module) -> Iterator[None]:
    """A backward pass that adds to the gradients, and is not the last one before they are reduced and used."""
    state = accelerator.gradient_state
    before = state.sync_gradients
    state._set_sync_gradients(False)  # accelerate's DeepSpeed wrapper steps where it is true
    # ZeRO reduces in every pass, and so does who set sync_each_batch to save memory
    reduces = accelerator.distributed_type == DistributedType.DEEPSPEED
    reduces = reduces or state.plugin_kwargs.get("sync_each_batch", False)
    try:
        with contextlib.nullcontext() if reduces else accelerator.no_sync(model):
            yield
    finally:
        state._set_sync_gradients(before)


@contextlib.contextmanager
def counted(trainer: Any, passes: int) -> Iterator[None]:
    """
    Let TRL's loss count `passes` micro-batches where the configuration counts one.

    It divides by the micro-batches of an update, or by its share of the rollout's tokens; both hold for the larger
    number then.
    """
    if passes == 1:
        yield
        return
    updates, micro_batches = trainer.current_gradient_accumulation_steps, trainer.args.steps_per_generation
    with (
        temporarily(trainer, current_gradient_accumulation_steps=updates * passes),
        temporarily(trainer.args, steps_per_generation=micro_batches * passes),
    ):
        yield
