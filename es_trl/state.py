"""What a checkpoint holds of a run beside what transformers saves, and which checkpoints are whole.

`es_state.json` is the run's, the same for all processes; `es_rollout_<process>.pt` is there where the checkpoint is
inside a rollout, with what this process still has to train on.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import send_to_device
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR
from transformers.utils import logging

from .history import HISTORY_FILE, RolloutRecord, atomic_replacement, write_atomically
from .launch import held


STATE_FILE = "es_state.json"
STATE_VERSION = 4

logger = logging.get_logger(__name__)


@dataclass
class RunState:
    """
    Where a run is.

    Args:
        files (`list[str]`):
            What else there must be in the checkpoint, as paths within it.
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
    """

    files: list[str]
    geometry: dict[str, int]
    micro_step: int
    rollout: int
    record: RolloutRecord | None
    clip_fractions: list[float]
    seconds: float
    settings: dict[str, float]
    metrics: dict[str, list[float]] = field(default_factory=dict)
    callbacks: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def save(self, checkpoint: str | Path) -> None:
        """Write the state into a checkpoint folder."""
        content = {"version": STATE_VERSION, **asdict(self)}
        write_atomically(Path(checkpoint) / STATE_FILE, json.dumps(content, indent=2))

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
            ValueError: where there is none, or it is torn, of another version, of other callbacks or of another
                geometry.
        """
        path = Path(checkpoint) / STATE_FILE
        if not path.exists():
            raise ValueError(
                f"{checkpoint} has no {STATE_FILE}, because another trainer wrote it or save_only_model was set, and "
                "cannot be resumed: start a new run with the checkpoint as the model"
            )
        content = _read_json(path)
        version = content.pop("version", None)
        if version != STATE_VERSION:
            raise ValueError(
                f"{path} has version {version} and this es_trl reads version {STATE_VERSION}: resume with the es_trl "
                "that wrote it"
            )
        try:
            record = content.pop("record")
            state = cls(record=None if record is None else RolloutRecord(**record), **content)
        except (KeyError, TypeError) as error:
            raise ValueError(f"{path} is no state of a run ({error}): resume from another checkpoint") from error
        saved = [name for name, _ in state.callbacks]
        if saved != callbacks:
            raise ValueError(
                f"the checkpoint was written with the rollout callbacks {saved} and this run has {callbacks}: resume "
                "with the same entropy_* and curriculum blocks, dynamic_sampling_tries and callbacks, or start a new "
                "run with the checkpoint as the model"
            )
        for name, value in geometry.items():
            if state.geometry[name] != value:
                raise ValueError(
                    f"the checkpoint was written with {name} {state.geometry[name]} and this run has {value}, which "
                    "shifts the rollouts against the updates, and what every process was about to train on would find "
                    f"no process: set {name} to {state.geometry[name]}, or start a new run with the checkpoint as the "
                    "model"
                )
        return state


def files_of(checkpoint: Path) -> list[str]:
    """What a checkpoint holds but the history, which can be had from the run's folder, too."""
    names = (str(path.relative_to(checkpoint)) for path in checkpoint.rglob("*") if path.is_file())
    return sorted(name for name in names if name != HISTORY_FILE)


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


def find_checkpoint(resume: str | bool | None, run_dir: str | Path) -> str | None:
    """
    The checkpoint to resume from.

    A save writes `trainer_state.json` last, when every process is done with its files: a checkpoint without it, or
    without a file that `es_state.json` lists, was cut short or half deleted.

    Args:
        resume (`str` or `bool`, *optional*):
            A checkpoint folder; or `True` for the latest whole one in `run_dir`.
        run_dir (`str` or `Path`):
            The run's `output_dir`.

    Raises:
        ValueError: where it is not whole, or there is none.
    """
    if not resume:
        return None
    if resume is not True:
        if not Path(resume).is_dir():
            raise ValueError(
                f"resume_from_checkpoint is {str(resume)!r}, and there is no such folder: set a checkpoint's folder, "
                "or true for the latest whole one in output_dir"
            )
        torn = _cut_short(Path(resume))
        if torn is not None:
            whole = _whole_checkpoints(Path(resume)) or _whole_checkpoints(Path(resume).parent)
            advice = f"resume from {whole[0]}" if whole else "start a new run"
            raise ValueError(
                f"{resume} is no whole checkpoint ({torn}): it is another folder, or its save was cut short; {advice}"
            )
        return str(resume)
    whole = _whole_checkpoints(Path(run_dir))
    if not whole:
        raise ValueError(
            f"{run_dir} holds no whole checkpoint to resume from: start the run without resume_from_checkpoint"
        )
    return str(whole[0])


def _whole_checkpoints(run_dir: Path) -> list[Path]:
    """The checkpoints that can be resumed, latest first."""
    numbered = [
        (int(path.name.rpartition("-")[2]), path)
        for path in run_dir.glob(f"{PREFIX_CHECKPOINT_DIR}-*")
        if path.name.rpartition("-")[2].isdigit()
    ]
    whole = []
    for _, path in sorted(numbered, reverse=True):
        torn = _cut_short(path)
        if torn is None:
            whole.append(path)
        else:
            logger.warning(f"{path} is left aside ({torn}): its save was cut short")
    return whole


def _cut_short(checkpoint: Path) -> str | None:
    """What a checkpoint lacks; `None` where it is whole."""
    path = checkpoint / TRAINER_STATE_NAME
    if not path.exists():
        return f"it has no {TRAINER_STATE_NAME}"
    try:
        _read_json(path)
        state = _read_json(checkpoint / STATE_FILE) if (checkpoint / STATE_FILE).exists() else {}
    except ValueError as error:
        return str(error)
    lacking = [name for name in state.get("files", []) if not (checkpoint / name).exists()]
    return f"it lacks {', '.join(lacking)}" if lacking else None


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} is torn, and no JSON ({error}): resume from another checkpoint") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} is no mapping: resume from another checkpoint")
    return content


def _rollout_file(checkpoint: Path, process: int) -> Path:
    return checkpoint / f"es_rollout_{process}.pt"


def weights_are_finite(model: torch.nn.Module, accelerator: Accelerator) -> bool:
    """Whether every weight is a number, on all processes; each looks at the shards that it holds."""
    broken = sum(not held(parameter).isfinite().all().item() for parameter in model.parameters())
    return accelerator.reduce(torch.tensor(broken, device=accelerator.device), reduction="sum").item() == 0
