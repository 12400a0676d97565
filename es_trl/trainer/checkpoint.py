"""The state of a run in a checkpoint: collected from the trainer at a save, and restored on a resume.

`es_state.json` is written when every process has written its files, and lists them. transformers writes
`trainer_state.json` last.
"""

import shutil
from dataclasses import asdict
from pathlib import Path

from torch.utils.data import Sampler
from transformers.trainer_callback import ExportableState

from ..checkpoints.files import list_files, trainer_state_digest
from ..checkpoints.run_state import RunState, load_rollout, save_rollout
from ..checkpoints.weights import load_reference, save_reference
from ..control.checks import checked_state
from .description import counts, described, next_target, stateful_callbacks
from .rollout import OpenRollout
from .rollout_trainer import RolloutTrainer


def write_parts(trainer: RolloutTrainer, folder: Path) -> None:
    """Write the files of this process: its rows of the open rollout, and its shard of a synced reference model."""
    process = trainer.accelerator.process_index
    folder.mkdir(parents=True, exist_ok=True)
    if trainer._rollout is not None:
        save_rollout(folder, process, trainer._buffered_inputs)
    if trainer.args.sync_ref_model:
        save_reference(trainer.ref_model, folder, process)
    if trainer.args.should_save:
        shutil.copy(trainer.history.path, folder)
        shutil.copy(trainer._samples.path, folder)


def write_state(trainer: RolloutTrainer, folder: Path) -> None:
    """Write `es_state.json` after every process has written its files."""
    trainer.accelerator.wait_for_everyone()
    files = list_files(folder, trainer.accelerator)
    if not trainer.args.should_save:
        return
    rollout, index = trainer._rollout, trainer._next_rollout
    # TRL writes the state of its own controller only after the file that marks a checkpoint as whole
    names = ("entropy_coef", "_last_world_entropy") if trainer.use_adaptive_entropy else ()
    RunState(
        identity=trainer._identity,
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


def take_up(trainer: RolloutTrainer, state: RunState, checkpoint: Path, sampler: Sampler | None) -> None:
    """
    Restore a run from a checkpoint.

    Without this, TRL would count rollouts from 0, generate the open rollout again, and repeat the prompt order of the
    first epoch. The `sampler` draws one order per epoch, so it is advanced by the epochs that are done.
    """
    rollout = None
    if state.record is not None:
        rollout = OpenRollout.resumed(state.record, state.clip_fractions, state.seconds)
    trainer.history.begin(checkpoint / trainer.history.path.name, keep=state.rollout)
    begun = state.rollout + (rollout is not None)  # the samples of an open rollout are not taken again
    trainer._samples.begin(checkpoint / trainer._samples.path.name, keep=begun)
    for callback, (_, callback_state) in zip(stateful_callbacks(trainer), state.callbacks, strict=True):
        callback.load_state_dict(callback_state)
    process, device = trainer.accelerator.process_index, trainer.accelerator.device
    buffered = None if rollout is None else load_rollout(checkpoint, process, device)
    trainer.restore(state, rollout, buffered)
    if trainer.args.sync_ref_model:
        load_reference(trainer.ref_model, checkpoint, process)
    if sampler is not None:
        for _ in range(int(trainer.state.epoch)):
            next(iter(sampler))
