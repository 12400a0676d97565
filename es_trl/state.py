"""`es_state.json`: what a checkpoint holds of a run beside what transformers saves."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from .history import RolloutRecord, write_atomically


STATE_FILE = "es_state.json"
STATE_VERSION = 2


@dataclass
class RunState:
    """
    Where a run is.

    Args:
        micro_step (`int`):
            Micro-batches made, TRL's `_step`.
        rollout (`int`):
            Finished rollouts; also the position in the history.
        record (`RolloutRecord`, *optional*):
            The rollout under way, where the checkpoint is inside one.
        settings (`dict[str, float]`):
            Trainer attributes that actuators have set.
        callbacks (list of `[str, dict]`):
            Class name and state of every rollout callback: the controller and the schedule's anchor are in here.
    """

    micro_step: int
    rollout: int
    record: RolloutRecord | None
    settings: dict[str, float]
    callbacks: list[tuple[str, dict[str, Any]]]

    def save(self, checkpoint: str | Path) -> None:
        """Write the state into a checkpoint folder."""
        content = {"version": STATE_VERSION, **asdict(self)}
        write_atomically(Path(checkpoint) / STATE_FILE, json.dumps(content, indent=2))

    @classmethod
    def load(cls, checkpoint: str | Path, callbacks: list[str]) -> "RunState":
        """
        Read the state of a checkpoint.

        Args:
            checkpoint (`str` or `Path`):
                The checkpoint folder.
            callbacks (`list[str]`):
                Class names of the run's rollout callbacks.

        Raises:
            ValueError: where there is none, or it is of another version or of other callbacks.
        """
        path = Path(checkpoint) / STATE_FILE
        if not path.exists():
            raise ValueError(
                f"{checkpoint} has no {STATE_FILE}, because another trainer wrote it or save_only_model was set, and "
                "cannot be resumed: start a new run with the checkpoint as the model"
            )
        content = json.loads(path.read_text())
        version = content.pop("version")
        if version != STATE_VERSION:
            raise ValueError(
                f"{path} has version {version} and this es_trl reads version {STATE_VERSION}: resume with the es_trl "
                "that wrote it"
            )
        record = content.pop("record")
        state = cls(record=None if record is None else RolloutRecord(**record), **content)
        saved = [name for name, _ in state.callbacks]
        if saved != callbacks:
            raise ValueError(
                f"the checkpoint was written with the rollout callbacks {saved} and this run has {callbacks}: resume "
                "with the same entropy_* blocks and callbacks, or start a new run with the checkpoint as the model"
            )
        return state


def weights_are_finite(model: torch.nn.Module, accelerator: Accelerator) -> bool:
    """Whether every weight is a number, on all processes; under ZeRO-3 each looks at the shards that it holds."""
    shards = [getattr(parameter, "ds_tensor", parameter) for parameter in model.parameters()]
    broken = sum(not shard.isfinite().all().item() for shard in shards)
    return accelerator.reduce(torch.tensor(broken, device=accelerator.device), reduction="sum").item() == 0
