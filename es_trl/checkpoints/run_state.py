"""The state of a run in a checkpoint, beside the files that transformers writes.

`es_state.json` is the same for all processes. A checkpoint inside a rollout also has `es_rollout_<process>.pt`, which
holds the micro-batches that this process still has to train on.
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
    """The state of a run. Its fields are the keys of `es_state.json`, with `run` and `lineage` for `identity`."""

    identity: Identity
    trainer_state: str  # digest of `trainer_state.json`
    files: dict[str, list[Any]]  # size and SHA-256 of all other files, by path in the checkpoint
    global_step: int
    epoch: float | None
    geometry: dict[str, int]  # sizes that map updates to rollouts and processes; must not change on a resume
    micro_step: int  # TRL's `_step`
    rollout: int  # finished rollouts; also the position in the history
    record: RolloutRecord | None  # record of the open rollout; `None` between rollouts
    clip_fractions: list[float]  # clip fractions of the open rollout's micro-batches so far
    seconds: float  # time spent on the open rollout so far
    settings: dict[str, float]  # trainer attributes that actuators have set
    metrics: dict[str, list[float]] = field(default_factory=dict)  # TRL's `_metrics` since the last log line
    callbacks: list[tuple[str, dict[str, Any]]] = field(
        default_factory=list
    )  # class name and state of each rollout callback
    configuration: dict[str, Any] = field(default_factory=dict)  # from `describe_run`
    next_target: float | None = None  # target of the next rollout, in nats; `None` without a schedule

    def save(self, checkpoint: str | Path) -> None:
        """Write the state into a checkpoint's folder."""
        content = {"run": self.identity.number, "lineage": self.identity.lineage, **asdict(self)}
        del content["identity"]
        write_atomically(Path(checkpoint) / STATE_FILE, with_digest(content))

    @classmethod
    def load(cls, checkpoint: str | Path, callbacks: list[str], geometry: dict[str, int]) -> "RunState":
        """
        Read the state of a checkpoint.

        Args:
            checkpoint (`str` or `Path`):
                Folder of the checkpoint.
            callbacks (`list[str]`):
                Class names of this run's rollout callbacks that keep a state.
            geometry (`dict[str, int]`):
                Geometry of this run.

        Raises:
            ValueError: if the state is damaged, or if callbacks or geometry differ from those of the checkpoint.
        """
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
                f"the checkpoint was written with the rollout callbacks {saved} but this run has {callbacks}: resume "
                f"with the same entropy_* and curriculum blocks, dynamic_sampling_tries, early_generations "
                f"and callbacks, {new_run}"
            )
        for name, value in geometry.items():
            if (saved := state.geometry.get(name)) != value:
                raise ValueError(
                    f"the checkpoint was written with {name} {saved} but this run has {value}, so its rollouts would "
                    f"not match its updates: set {name} to {saved}, {new_run}"
                )
        state._check_counts(path)
        return state

    def _check_counts(self, path: Path) -> None:
        """Raise unless the numbers of micro-batches, updates and rollouts agree, as they do after every update."""
        per_rollout = self.geometry["steps_per_generation"] * self.geometry["num_iterations"]
        finished, inside = divmod(self.micro_step, per_rollout)
        expected = finished if inside > 0 else None
        agrees = finished == self.rollout and expected == (None if self.record is None else self.record.rollout)
        if not agrees or self.micro_step > self.global_step * self.geometry["gradient_accumulation_steps"]:
            raise ValueError(
                f"{path} counts {self.micro_step} micro-batches, {self.global_step} updates and {self.rollout} "
                "rollouts, which contradict each other: resume from another checkpoint"
            )


def save_rollout(checkpoint: Path, process: int, micro_batches: list[dict[str, Any]]) -> None:
    """Write the micro-batches of the open rollout that this process still has to train on."""
    with atomic_replacement(_rollout_file(checkpoint, process)) as file:
        torch.save(micro_batches, file)


def load_rollout(checkpoint: Path, process: int, device: torch.device) -> list[dict[str, Any]]:
    """Read the micro-batches that [`save_rollout`] wrote for this process."""
    path = _rollout_file(checkpoint, process)
    try:
        micro_batches = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # pickle and zip raise many kinds of errors for a damaged file
        raise ValueError(
            f"{path} cannot be read ({error!r}), but it holds the rest of the checkpoint's open rollout: restore the "
            "file, or resume from another checkpoint"
        ) from error
    return send_to_device(micro_batches, device)


def _rollout_file(checkpoint: Path, process: int) -> Path:
    return checkpoint / f"es_rollout_{process}.pt"
