"""The description of a trainer's run, for its checkpoints and its folder."""

import contextlib
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from trl.trainer.utils import get_config_model_id

from ..checkpoints.changes import describe_run, prompts_digest
from ..control.geometry import Geometry
from ..control.schedules import progress_at
from ..tracking.setup import Setup, read_setup, write_setup
from .callbacks import RolloutCallback
from .rollout_trainer import RolloutTrainer


def counts(trainer: RolloutTrainer) -> dict[str, int]:
    """Return the sizes that relate micro-batches to updates, updates to rollouts, and rollouts to processes."""
    names = ("per_device_train_batch_size", "gradient_accumulation_steps", "steps_per_generation", "num_iterations")
    own = {name: getattr(trainer.args, name) for name in (*names, "num_generations")}
    return {"num_processes": trainer.accelerator.num_processes, **own}


def stateful_callbacks(trainer: RolloutTrainer) -> list[RolloutCallback]:
    """Return the rollout callbacks that keep a state, so that a resume needs them."""
    callbacks = trainer.callback_handler.callbacks
    return [each for each in callbacks if isinstance(each, RolloutCallback) and each.keeps_state]


def described(trainer: RolloutTrainer) -> dict[str, Any]:
    """Return the configuration of the run, in the form of [`describe_run`]."""
    dataset, curriculum, scheduler = trainer.train_dataset, trainer.curriculum, trainer.entropy_scheduler
    return describe_run(
        trainer.args,
        None if scheduler is None else scheduler.loop,
        None if curriculum is None else curriculum.prompts.planned,
        (len(dataset) if hasattr(dataset, "__len__") else None, prompts_digest(dataset)),
        list(trainer.reward_func_names),
    )


def describe_setup(trainer: RolloutTrainer, packages: Iterable[str]) -> None:
    """Write the setup of the run, with the versions of `packages`, into its folder."""
    if not trainer.accelerator.is_main_process:
        return
    folder, started = Path(trainer.args.output_dir), datetime.now(UTC).isoformat(timespec="seconds")
    if trainer._next_rollout > 0:
        with contextlib.suppress(ValueError):  # a damaged file is replaced
            started = getattr(read_setup(folder), "started", started)
    model, device = get_config_model_id(trainer.model.config) or "a model without a name", trainer.accelerator.device
    setup = Setup(
        model="/".join(Path(model).parts[-2:]) if Path(model).is_dir() else model,
        rewards=list(trainer.reward_func_names),
        geometry=Geometry.of(trainer.args, max_steps=trainer.state.max_steps),
        versions={package: sys.modules[package].__version__ for package in packages},
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        started=started,
    )
    write_setup(folder, setup)


def next_target(trainer: RolloutTrainer, rollout: int, max_steps: int) -> float | None:
    """
    Return the target of a rollout in a run of `max_steps` updates, or `None` without a schedule.

    The target is in nats, or a multiple of the first entropy if the schedule is relative.
    """
    schedule = None if trainer.entropy_scheduler is None else trainer.entropy_scheduler.loop.schedule
    rollouts = Geometry.of(trainer.args, max_steps=max_steps).rollouts
    return None if schedule is None else schedule(progress_at(rollout, rollouts))
