"""What a save adds to transformers' checkpoint: where the run is, and by what a whole checkpoint is known.

`es_state.json` lists the files of a checkpoint when every process is done with its own, and `trainer_state.json` is
written last.
"""

import contextlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

from transformers import TrainingArguments
from transformers.trainer import rotate_checkpoints
from transformers.trainer_callback import ExportableState

from ..checkpoints.choice import bring_back, drop_aside, remove_old, set_aside
from ..checkpoints.files import list_files, trainer_state_digest
from ..checkpoints.lineage import Lineage
from ..checkpoints.run_state import RunState, save_rollout
from ..checkpoints.weights import save_reference
from ..common.writing import writing
from ..control.checks import checked_state
from .description import counts, described, next_target, stateful_callbacks
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


def write_parts(trainer: RolloutTrainer, folder: Path) -> None:
    """Write what each process has of the run: its open rollout, and its part of a reference model that moves."""
    process = trainer.accelerator.process_index
    folder.mkdir(parents=True, exist_ok=True)
    if trainer._rollout is not None:
        save_rollout(folder, process, trainer._buffered_inputs)
    if trainer.args.sync_ref_model:
        save_reference(trainer.ref_model, folder, process)
    if trainer.args.should_save:
        shutil.copy(trainer.history.path, folder)


def write_state(trainer: RolloutTrainer, folder: Path) -> None:
    """Write `es_state.json`, when every process has written its files."""
    trainer.accelerator.wait_for_everyone()
    files = list_files(folder, trainer.accelerator)
    if not trainer.args.should_save:
        return
    rollout, index = trainer._rollout, trainer._next_rollout
    # TRL writes the state of its own controller only after the file that says a checkpoint is whole
    names = ("entropy_coef", "_last_world_entropy") if trainer.use_adaptive_entropy else ()
    RunState(
        run=trainer._identity.number,
        lineage=trainer._identity.lineage,
        trainer_state=_trainer_state_digest(trainer),
        files=files,
        global_step=trainer.state.global_step,
        epoch=trainer.state.epoch,
        geometry=counts(trainer),
        micro_step=trainer._step,
        rollout=index,
        record=None if rollout is None else rollout.record(),
        clip_fractions=[] if rollout is None else rollout.clip_fractions,
        seconds=0.0 if rollout is None else rollout.seconds,
        settings={**trainer._actuation.settings, **{name: getattr(trainer, name) for name in names}},
        metrics=dict(trainer._metrics["train"]),
        callbacks=[(type(each).__name__, checked_state(each)) for each in stateful_callbacks(trainer)],
        configuration=described(trainer),
        next_target=next_target(trainer, index + (rollout is not None), trainer.state.max_steps),
    ).save(folder)


def _trainer_state_digest(trainer: RolloutTrainer) -> str:
    callbacks = [*trainer.callback_handler.callbacks, trainer.control]
    exported = {type(each).__name__: each.state() for each in callbacks if isinstance(each, ExportableState)}
    content = asdict(trainer.state)
    alone = {
        name: state for name, state in exported.items() if isinstance(content["stateful_callbacks"].get(name), dict)
    }
    return trainer_state_digest(content, alone)
