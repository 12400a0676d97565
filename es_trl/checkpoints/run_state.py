"""What a checkpoint holds of a run beside what transformers saves.

`es_state.json` is the run's, the same for all processes; `es_rollout_<process>.pt` is there where the checkpoint is
inside a rollout, with what this process still has to train on.
"""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import send_to_device

from ..common.writing import atomic_replacement, write_atomically
from ..tracking.history import RolloutRecord
from .files import STATE_FILE, read_state, with_digest
from .lineage import Lineage


@dataclass
class RunState:
    """
    Where a run is.

    Args:
        run (`int`):
            Number of the run in its folder.
        lineage (`Lineage`):
            The sessions of the run up to here.
        trainer_state (`str`):
            Digest of `trainer_state.json`, which is written after the state.
        files (`dict[str, [int, str]]`):
            Size and SHA-256 of every other file of the checkpoint, by its path within it.
        global_step (`int`), epoch (`float`, *optional*):
            Updates made, and the epoch, as in `trainer_state.json`.
        geometry (`dict[str, int]`):
            The numbers that tie updates to rollouts and rollouts to processes; a resumed run must have the same.
        micro_step (`int`):
            Micro-batches made, TRL's `_step`.
        rollout (`int`):
            Finished rollouts; also the position in the history.
        record (`RolloutRecord`, *optional*):
            The rollout under way, where the checkpoint is inside one.
        clip_fractions (`list[float]`), seconds (`float`):
            What is known of that rollout so far: clipped share of each micro-batch, and time spent.
        settings (`dict[str, float]`):
            Trainer attributes that actuators have set.
        metrics (`dict[str, list[float]]`):
            What was measured since the last line of the log, TRL's `_metrics`.
        callbacks (list of `[str, dict]`):
            Class name and state of every rollout callback: controller, schedule's anchor and order of prompts are here.
        configuration (`dict`):
            What the run was configured with, as [`describe_run`] says.
        next_target (`float`, *optional*):
            What the schedule says of the rollout that comes next; `None` without a schedule.
    """

    run: int
    lineage: Lineage
    trainer_state: str
    files: dict[str, list[Any]]
    global_step: int
    epoch: float | None
    geometry: dict[str, int]
    micro_step: int
    rollout: int
    record: RolloutRecord | None
    clip_fractions: list[float]
    seconds: float
    settings: dict[str, float]
    metrics: dict[str, list[float]] = field(default_factory=dict)
    callbacks: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    configuration: dict[str, Any] = field(default_factory=dict)
    next_target: float | None = None

    def save(self, checkpoint: str | Path) -> None:
        """Write the state into a checkpoint folder."""
        write_atomically(Path(checkpoint) / STATE_FILE, with_digest(asdict(self)))

    @classmethod
    def load(cls, checkpoint: str | Path, callbacks: list[str], geometry: dict[str, int]) -> "RunState":
        """
        Read the state of a checkpoint.

        Args:
            checkpoint (`str` or `Path`):
                The checkpoint folder.
            callbacks (`list[str]`):
                Class names of the run's rollout callbacks that keep a state.
            geometry (`dict[str, int]`):
                The run's, as in `RunState`.

        Raises:
            ValueError: where there is none, or it is damaged, of another version, of other callbacks or of another
                geometry.
        """
        path = Path(checkpoint) / STATE_FILE
        content = read_state(Path(checkpoint))
        try:
            record = content.pop("record")
            state = cls(record=None if record is None else RolloutRecord(**record), **content)
        except (KeyError, TypeError) as error:
            raise ValueError(f"{path} is not the state of a run ({error}): resume from another checkpoint") from error
        state._check_callbacks(callbacks)
        state._check_geometry(geometry)
        state._check_counts(path)
        return state

    def _check_callbacks(self, callbacks: list[str]) -> None:
        saved = [name for name, _ in self.callbacks]
        if saved != callbacks:
            raise ValueError(
                f"the checkpoint was written with the rollout callbacks {saved} and this run has {callbacks}: resume "
                "with the same entropy_* and curriculum blocks, dynamic_sampling_tries and callbacks, or start a new "
                "run with the checkpoint as the model"
            )

    def _check_geometry(self, geometry: dict[str, int]) -> None:
        for name, value in geometry.items():
            saved = self.geometry.get(name)
            if saved != value:
                raise ValueError(
                    f"the checkpoint was written with {name} {saved} and this run has {value}, which shifts the "
                    "rollouts against the updates, and what every process was about to train on would find no process: "
                    f"set {name} to {saved}, or start a new run with the checkpoint as the model"
                )

    def _check_counts(self, path: Path) -> None:
        """Raise unless micro-batches, updates and rollouts are those of one moment, at the end of an update."""
        per_rollout = self.geometry["steps_per_generation"] * self.geometry["num_iterations"]
        finished, inside = divmod(self.micro_step, per_rollout)
        is_open = self.record is not None
        agrees = (
            finished == self.rollout and is_open == (inside > 0) and (not is_open or self.record.rollout == finished)
        )
        if not agrees or self.micro_step > self.global_step * self.geometry["gradient_accumulation_steps"]:
            raise ValueError(
                f"{path} counts {self.micro_step} micro-batches, {self.global_step} updates and {self.rollout} "
                "rollouts, which do not belong together: resume from another checkpoint"
            )


def save_rollout(checkpoint: Path, process: int, micro_batches: list[dict[str, Any]]) -> None:
    """Write what this process still has to train on of the rollout under way."""
    with atomic_replacement(_rollout_file(checkpoint, process)) as file:
        torch.save(micro_batches, file)


def load_rollout(checkpoint: Path, process: int, device: torch.device) -> list[dict[str, Any]]:
    """
    What this process still had to train on when the checkpoint was written inside a rollout.

    Raises:
        ValueError: where the file is missing or torn.
    """
    path = _rollout_file(checkpoint, process)
    try:
        micro_batches = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # pickle and zip have a dozen kinds for a file that is not what it was
        raise ValueError(
            f"{path} cannot be read ({error!r}), and the checkpoint is inside a rollout, which cannot go on without "
            "it: restore the file, or resume from another checkpoint"
        ) from error
    return send_to_device(micro_batches, device)


def _rollout_file(checkpoint: Path, process: int) -> Path:
    return checkpoint / f"es_rollout_{process}.pt"
