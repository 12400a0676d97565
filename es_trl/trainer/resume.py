"""What a resume adds to transformers': the run goes on as it was, or is refused."""

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
from ..hub.card import write_recipe
from ..tracking.history import write_loop
from .description import counts, described, next_target, stateful_callbacks
from .rollout_trainer import RolloutTrainer


class _NotLoaded(Exception):
    """A load left these parameters as they were, or did not know these keys."""

    def __init__(self, names: list[str]):
        super().__init__(", ".join(names))
        self.names = names


# --- which checkpoint ------------------------------------------------------------------------------------------------


def find_start_of(trainer: RolloutTrainer, resume: str | bool | None) -> tuple[str | None, bool]:
    """Return the checkpoint that a run goes on from, and whether the run was finished; every process calls it."""
    checkpoint = on_main(trainer.accelerator.is_main_process, lambda: find_start(resume, Path(trainer.args.output_dir)))
    if checkpoint is None:
        return None, False
    state, max_steps = read_state(trainer, Path(checkpoint)), updates_of_run(trainer)
    was_finished = state.global_step >= max_steps
    if was_finished:
        made = f"update {state.global_step} of {max_steps}"
        message = f"the run is finished: {checkpoint} is at {made}, and nothing is trained"
    else:
        targets = (state.next_target, next_target(trainer, state.rollout + (state.record is not None), max_steps))
        allowed = trainer.args.resume_with_changes
        changes = check_changes(state.configuration, described(trainer), targets, allowed)
        message = "".join(f"\nchanged: {change}" for change in changes)
    if message:
        trainer.accelerator.print(message.strip(), flush=True)
    return checkpoint, was_finished


def read_state(trainer: RolloutTrainer, checkpoint: Path) -> RunState:
    """Return the state of the run in a checkpoint of this run."""
    return RunState.load(checkpoint, [type(each).__name__ for each in stateful_callbacks(trainer)], counts(trainer))


def updates_of_run(trainer: RolloutTrainer) -> int:
    """Return the updates that the configuration asks for, by `max_steps` or by epochs of the training data."""
    if trainer.args.max_steps > 0:
        return trainer.args.max_steps
    return trainer.set_initial_training_values(trainer.args, trainer.get_train_dataloader())[-1]


# --- the folder ------------------------------------------------------------------------------------------------------


def open_folder(trainer: RolloutTrainer, state: RunState | None) -> Identity:
    """Return by what a run is known, afresh or as a checkpoint has it, and tell the folder."""

    def tell() -> Identity:
        run_dir = Path(trainer.args.output_dir)
        if state is None:
            opened = Identity(next_run(run_dir), fresh())
        else:
            opened = Identity(state.identity.number, resumed(state.identity.lineage, state.global_step))
        write_run(run_dir, opened)
        return opened

    return on_main(trainer.accelerator.is_main_process, tell)


def describe_in_folder(trainer: RolloutTrainer, recipe: dict[str, Any] | None) -> None:
    """Say in the folder what the run controls with, and its recipe."""
    if not trainer.accelerator.is_main_process:
        return
    scheduler, method = trainer.entropy_scheduler, trainer.args.method
    named = {} if method is None else {"method": method}
    write_loop(trainer.args.output_dir, None if scheduler is None else {**named, **scheduler.loop.describe()})
    write_recipe(trainer.args.output_dir, recipe)


# --- weights ---------------------------------------------------------------------------------------------------------


def loads_when_prepared(trainer: RolloutTrainer) -> bool:
    """Whether DeepSpeed or FSDP reads the weights, each in a format of its own that is complete."""
    return trainer.is_deepspeed_enabled or trainer.is_fsdp_enabled


def check_loaded(model: Any, load_result: Any) -> None:
    """Raise unless a load has set every parameter; [`loading_all`] catches it."""
    if names := not_loaded(model, load_result):
        raise _NotLoaded(names)


@contextlib.contextmanager
def loading_all(trainer: RolloutTrainer, checkpoint: Path) -> Iterator[None]:
    """Load what transformers leaves out of a checkpoint with a warning, or refuse it."""
    try:
        yield
    except _NotLoaded as left:
        if not isinstance(trainer.model, PreTrainedModel):
            raise ValueError(unloaded(checkpoint, left.names)) from None
        load_converted(trainer.model, checkpoint)
    if is_peft_model(trainer.model) and not loads_when_prepared(trainer):
        load_adapter(trainer.model, checkpoint)


def check_best(trainer: RolloutTrainer) -> Path:
    """Return the checkpoint of the best model, or raise where it is not whole."""
    best = Path(trainer.state.best_model_checkpoint)
    damage = on_main(trainer.accelerator.is_main_process, lambda: check(best).damage)
    if damage is not None:
        raise ValueError(
            f"the best model cannot be loaded from {best} ({damage}): the last checkpoint in {best.parent} holds "
            "the end of the training; set load_best_model_at_end: false to take that"
        )
    return best


def load_trainer_state(checkpoint: Path) -> TrainerState:
    """Return transformers' state of the run in a checkpoint."""
    return TrainerState.load_from_json(str(checkpoint / TRAINER_STATE_NAME))


def stream_position(checkpoint: Path, micro_batches_per_update: int) -> tuple[int, int]:
    """Return the passes over a stream that are done, and the micro-batches of the present one."""
    saved = load_trainer_state(checkpoint)
    longest = saved.max_steps * micro_batches_per_update  # what transformers takes for a pass
    passes = int(saved.epoch)
    done = round((saved.epoch - passes) * longest)
    if done == 0 and passes > 0:
        return passes - 1, longest
    return passes, done
