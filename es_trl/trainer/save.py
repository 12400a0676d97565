"""The replacement of a checkpoint at a save, and the removal of old checkpoints."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from transformers import TrainingArguments
from transformers.trainer import rotate_checkpoints

from ..checkpoints.choice import bring_back, drop_aside, remove_old, set_aside
from ..checkpoints.lineage import Lineage
from ..common.writing import writing
from .rollout_trainer import RolloutTrainer


def rotation(args: TrainingArguments, lineage: Lineage) -> Callable[..., None]:
    """Return a function for transformers' `rotate_checkpoints` that never removes checkpoints of other runs."""

    def remove(output_dir: str, save_total_limit: int | None, best_model_checkpoint: str | None, **_: object) -> None:
        if args.save_only_model:  # such checkpoints do not name their run
            rotate_checkpoints(output_dir, save_total_limit, best_model_checkpoint, use_mtime=False)
        else:
            remove_old(Path(output_dir), lineage, save_total_limit, best_model_checkpoint)

    return remove


@contextlib.contextmanager
def replacing(folder: Path, trainer: RolloutTrainer) -> Iterator[None]:
    """
    Set an old checkpoint aside until the new one in its place is whole; every process must enter.

    If the save fails, the old checkpoint is brought back.
    """
    advice = "make room or mend the folder, and resume from the last whole checkpoint"
    writes = trainer.args.should_save
    with writing(folder, f"the checkpoint of update {trainer.state.global_step}", advice):
        if writes:
            set_aside(folder)  # left by an interrupted save, an earlier run, or updates that a resume went back over
        trainer.accelerator.wait_for_everyone()
        try:
            yield
        except BaseException:
            if writes:
                bring_back(folder)  # an incomplete checkpoint takes disk space and is of no use
            raise
    if writes:
        drop_aside(folder)
