"""What a checkpoint holds of a run beside what transformers saves.

`es_state.json` is the same for all processes; `es_rollout_<process>.pt` is there where the checkpoint is inside a
rollout, with what this process still has to train on.
"""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import send_to_device

from ..common.writing import atomic_replacement, write_atomically
from ..tracking.history import RolloutRecord
from .files import STATE_FILE, read_state, with_digest
from .lineage import Identity


@dataclass
class RunState:
    """Where a run is. The fields are the keys of `es_state.json`, which has `run` and `lineage` for the identity."""

    identity: Identity
    trainer_state: str  # digest of `trainer_state.json`, which is written after the state
    files: dict[str, list[Any]]  # size and SHA-256 of every other file, by its path in the checkpoint
    global_step: int
    epoch: float | None
    geometry: dict[str, int]  # numbers that tie updates to rollouts and processes; a resumed run must have the same
    micro_step: int  # TRL's `_step`
    rollout: int  # finished rollouts; also the position in the history
    record: RolloutRecord | None  # the rollout under way, where the checkpoint is inside one
    clip_fractions: list[float]  # of its micro-batches so far
    seconds: float  # spent on it so far
    settings: dict[str, float]  # trainer attributes that actuators have set
    metrics: dict[str, list[float]] = field(default_factory=dict)  # TRL's `_metrics` since the last line of the log
    callbacks: list[tuple[str, dict[str, Any]]] = field(default_factory=list)  # class name and state of each
    configuration: dict[str, Any] = field(default_factory=dict)  # as `describe_run` has it
    next_target: float | None = None  # of the rollout that comes next; `None` without a schedule

    def save(self, checkpoint: str | Path) -> None:
        """Write the state into a checkpoint folder."""
        content = {"run": self.identity.number, "lineage": self.identity.lineage, **asdict(self)}
        del content["identity"]
        write_atomically(Path(checkpoint) / STATE_FILE, with_digest(content))

    @classmethod
    def load(cls, checkpoint: str | Path, callbacks: list[str], geometry: dict[str, int]) -> "RunState":
        """Read the state of a checkpoint of a run with this geometry, and callbacks of these classes with a state."""
        path = Path(checkpoint) / STATE_FILE
        content = read_state(Path(checkpoint))
        try:
            record = content.pop("record")
            identity = Identity(content.pop("run"), content.pop("lineage"))
            state = cls(identity, record=None if record is None else RolloutRecord(**record), **content)
        except (KeyError, TypeError) as error:
            raise ValueError(f"{path} is not the state of a run ({error}): resume from another checkpoint") from error
        new_run = "or start a new run with the checkpoint as the model"
        saved = [name for name, _ in state.callbacks]
        if saved != callbacks:
            raise ValueError(
                f"the checkpoint was written with the rollout callbacks {saved} and this run has {callbacks}: resume "
                f"with the same entropy_* and curriculum blocks, dynamic_sampling_tries and callbacks, {new_run}"
            )
        for name, value in geometry.items():
            if (saved := state.geometry.get(name)) != value:
                raise ValueError(
                    f"the checkpoint was written with {name} {saved} and this run has {value}, which shifts the "
                    f"rollouts against the updates: set {name} to {saved}, {new_run}"
                )
        state._check_counts(path)
        return state

    def _check_counts(self, path: Path) -> None:
        """Raise unless micro-batches, updates and rollouts are those of one moment, at the end of an update."""
        per_rollout = self.geometry["steps_per_generation"] * self.geometry["num_iterations"]
        finished, inside = divmod(self.micro_step, per_rollout)
        expected = finished if inside > 0 else None
        agrees = finished == self.rollout and expected == (None if self.record is None else self.record.rollout)
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
    """Read what this process still had to train on when the checkpoint was written inside a rollout."""
    path = _rollout_file(checkpoint, process)
    try:
        micro_batches = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # pickle and zip have a dozen kinds for a file that is not what it was
        raise ValueError(
            f"{path} cannot be read ({error!r}), and the checkpoint is inside a rollout: restore the file, or resume "
            "from another checkpoint"
        ) from error
    return send_to_device(micro_batches, device)


def _rollout_file(checkpoint: Path, process: int) -> Path:
    return checkpoint / f"es_rollout_{process}.pt"
