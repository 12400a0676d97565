"""How a checkpoint is replaced, and old ones are removed."""

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
    """Return a `rotate_checkpoints` that removes no checkpoint of another run."""

    def remove(output_dir: str, save_total_limit: int | None, best_model_checkpoint: str | None, **_: object) -> None:
        if args.save_only_model:  # these do not say whose they are
            rotate_checkpoints(output_dir, save_total_limit, best_model_checkpoint, use_mtime=False)
        else:
            remove_old(Path(output_dir), lineage, save_total_limit, best_model_checkpoint)

    return remove


@contextlib.contextmanager
def replacing(folder: Path, trainer: RolloutTrainer) -> Iterator[None]:
    """Set aside what a new checkpoint replaces until that is whole, or bring it back; every process enters."""
    advice, writes = "make room or mend the folder, and resume from the last whole checkpoint", trainer.args.should_save
    with writing(folder, f"the checkpoint of update {trainer.state.global_step}", advice):
        if writes:
            set_aside(folder)  # of a save that was cut short, of an earlier run, or of an abandoned future
        trainer.accelerator.wait_for_everyone()
        try:
            yield
        except BaseException:
            if writes:
                bring_back(folder)  # a part of a checkpoint takes room and is of no use
            raise
    if writes:
        drop_aside(folder)
