"""The resume of a run: the choice of the checkpoint, checks of the configuration, and the loading of all weights."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from accelerate.utils import is_peft_model
from transformers import PreTrainedModel, TrainerState
from transformers.trainer import TRAINER_STATE_NAME

from ..checkpoints.changes import check_changes
from ..checkpoints.files import check
from ..checkpoints.lineage import Identity, fresh, resumed
from ..checkpoints.run_folder import find_start, next_run, write_run
from ..checkpoints.run_state import RunState
from ..checkpoints.weights import load_adapter, load_converted, not_loaded, unloaded
from ..common.processes import on_main
from ..common.writing import writing
from ..hub.card import REPORT_FILE, write_recipe
from ..tracking.history import write_loop
from .description import counts, described, next_target, stateful_callbacks
from .rollout_trainer import RolloutTrainer


class _NotLoaded(Exception):
    """A load that did not set these parameters, or did not know these keys."""

    def __init__(self, names: list[str]):
        super().__init__(", ".join(names))
        self.names = names


# --- which checkpoint ------------------------------------------------------------------------------------------------


def find_start_of(trainer: RolloutTrainer, resume: str | bool | None) -> tuple[str | None, bool]:
    """
    Return the checkpoint to resume from, and whether its run is finished; every process must call this.

    The checkpoint is `None` if the run begins afresh. Allowed changes of the configuration are printed.
    """
    checkpoint = on_main(trainer.accelerator.is_main_process, lambda: find_start(resume, Path(trainer.args.output_dir)))
    if checkpoint is None:
        return None, False
    state, max_steps = read_state(trainer, Path(checkpoint)), updates_of_run(trainer)
    was_finished = state.global_step >= max_steps
    if was_finished:
        made = f"update {state.global_step} of {max_steps}"
        message = f"the run is finished: {checkpoint} is at {made}, so nothing is trained"
    else:
        targets = (state.next_target, next_target(trainer, state.rollout + (state.record is not None), max_steps))
        allowed = trainer.args.resume_with_changes
        changes = check_changes(state.configuration, described(trainer), targets, allowed)
        message = "".join(f"\nchanged: {change}" for change in changes)
    if message:
        trainer.accelerator.print(message.strip(), flush=True)
    return checkpoint, was_finished


def read_state(trainer: RolloutTrainer, checkpoint: Path) -> RunState:
    """Return the state of the run from a checkpoint, or raise if it does not fit this trainer."""
    return RunState.load(checkpoint, [type(each).__name__ for each in stateful_callbacks(trainer)], counts(trainer))


def updates_of_run(trainer: RolloutTrainer) -> int:
    """Return the number of updates that the configuration asks for, from `max_steps` or from the epochs."""
    if trainer.args.max_steps > 0:
        return trainer.args.max_steps
    return trainer.set_initial_training_values(trainer.args, trainer.get_train_dataloader())[-1]


# --- the folder ------------------------------------------------------------------------------------------------------


def open_folder(trainer: RolloutTrainer, state: RunState | None) -> Identity:
    """Return the identity of a run, new or from the `state` of a checkpoint, and write it into the folder."""

    def write() -> Identity:
        run_dir = Path(trainer.args.output_dir)
        if state is None:
            opened = Identity(next_run(run_dir), fresh())
        else:
            opened = Identity(state.identity.number, resumed(state.identity.lineage, state.global_step))
        write_run(run_dir, opened)
        return opened

    return on_main(trainer.accelerator.is_main_process, write)


def describe_in_folder(trainer: RolloutTrainer, recipe: dict[str, Any] | None) -> None:
    """Write the entropy loop of the run and its recipe into the folder, and remove an earlier page about it."""
    if not trainer.accelerator.is_main_process:
        return
    page = Path(trainer.args.output_dir) / REPORT_FILE
    with writing(page, page.name):
        page.unlink(missing_ok=True)
    scheduler, method = trainer.entropy_scheduler, trainer.args.method
    named = {} if method is None else {"method": method}
    write_loop(trainer.args.output_dir, None if scheduler is None else {**named, **scheduler.loop.describe()})
    write_recipe(trainer.args.output_dir, recipe)


# --- weights ---------------------------------------------------------------------------------------------------------


def loads_when_prepared(trainer: RolloutTrainer) -> bool:
    """Return whether DeepSpeed or FSDP loads the weights, which it does completely and in its own format."""
    return trainer.is_deepspeed_enabled or trainer.is_fsdp_enabled


def check_loaded(model: Any, load_result: Any) -> None:
    """Raise unless a load has set every parameter; [`loading_all`] catches this error."""
    if names := not_loaded(model, load_result):
        raise _NotLoaded(names)


@contextlib.contextmanager
def loading_all(trainer: RolloutTrainer, checkpoint: Path) -> Iterator[None]:
    """Load the weights that transformers would skip with a warning, or raise if they cannot be loaded."""
    try:
        yield
    except _NotLoaded as left:
        if not isinstance(trainer.model, PreTrainedModel):
            raise ValueError(unloaded(checkpoint, left.names)) from None
        load_converted(trainer.model, checkpoint)
    if is_peft_model(trainer.model) and not loads_when_prepared(trainer):
        load_adapter(trainer.model, checkpoint)


def check_best(trainer: RolloutTrainer) -> Path:
    """Return the checkpoint of the best model, or raise if it is not whole."""
    best = Path(trainer.state.best_model_checkpoint)
    damage = on_main(trainer.accelerator.is_main_process, lambda: check(best).damage)
    if damage is not None:
        raise ValueError(
            f"the best model cannot be loaded from {best} ({damage}): set load_best_model_at_end: false to take the "
            f"last checkpoint in {best.parent} instead, which has the end of the training"
        )
    return best


def load_trainer_state(checkpoint: Path) -> TrainerState:
    """Return transformers' `TrainerState` from a checkpoint."""
    return TrainerState.load_from_json(str(checkpoint / TRAINER_STATE_NAME))


def stream_position(checkpoint: Path, micro_batches_per_update: int) -> tuple[int, int]:
    """Return the number of finished epochs over a stream, and the micro-batches that the present epoch has used."""
    saved = load_trainer_state(checkpoint)
    longest = saved.max_steps * micro_batches_per_update  # transformers takes this for the length of an epoch
    passes = int(saved.epoch)
    done = round((saved.epoch - passes) * longest)
    if done == 0 and passes > 0:
        return passes - 1, longest
    return passes, done
