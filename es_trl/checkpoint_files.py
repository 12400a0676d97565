"""Which checkpoints are whole: the list of their files, by which each is checked, and which are kept.

A save writes `es_state.json` when every process is done with its files, and `trainer_state.json` last. The former
lists size and SHA-256 of every file, and has a digest of its own content.
"""

import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.utils import gather_object
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR
from transformers.utils import logging


STATE_FILE = "es_state.json"
STATE_VERSION = 5

logger = logging.get_logger(__name__)


@dataclass(frozen=True)
class Checkpoint:
    """
    A checkpoint folder.

    Args:
        path (`Path`):
            The folder.
        run (`int`, *optional*):
            The number of the run that wrote it; `None` where its state cannot be read.
        damage (`str`, *optional*):
            What is wrong with it; `None` where it is whole.
    """

    path: Path
    run: int | None
    damage: str | None


def list_files(checkpoint: Path, accelerator: Accelerator) -> dict[str, list[Any]]:
    """
    List size and SHA-256 of every file of a checkpoint, by its path within it.

    Every process calls it, reads its share of the files, and returns the whole list.
    """
    names = sorted(str(path.relative_to(checkpoint)) for path in checkpoint.rglob("*") if path.is_file())
    own = names[accelerator.process_index :: accelerator.num_processes]
    return dict(gather_object([(name, _measure(checkpoint / name)) for name in own]))


def with_digest(content: dict[str, Any]) -> str:
    """The content of a state file as JSON, with its version and a digest by which damage is found."""
    content = json.loads(json.dumps({"version": STATE_VERSION, **content}))  # as it will be read
    return json.dumps({**content, "digest": _digest(content)}, indent=2)


def read_state(checkpoint: Path) -> dict[str, Any]:
    """
    Read the content of a checkpoint's state file.

    Raises:
        ValueError: where it is missing, damaged, or of another version.
    """
    path = checkpoint / STATE_FILE
    if not path.exists():
        raise ValueError(
            f"{checkpoint} has no {STATE_FILE}, because another trainer wrote it or save_only_model was set, and "
            "cannot be resumed: start a new run with the checkpoint as the model"
        )
    content = read_mapping(path)
    version = content.pop("version", None)
    if version != STATE_VERSION:
        raise ValueError(
            f"{path} has version {version} and this es_trl reads version {STATE_VERSION}: resume with the es_trl "
            "that wrote it"
        )
    digest = content.pop("digest", None)
    if digest != _digest({"version": version, **content}):
        raise ValueError(f"{path} is damaged (its digest does not match): resume from another checkpoint")
    return content


def read_mapping(path: Path) -> dict[str, Any]:
    """
    Read a JSON object from a file.

    Raises:
        ValueError: where the file holds none, or cannot be read.
    """
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:  # a UnicodeDecodeError is a ValueError, too
        raise ValueError(f"{path} is damaged ({_reason(error)}): resume from another checkpoint") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} is damaged (it holds no JSON object): resume from another checkpoint")
    return content


def find_checkpoint(
    resume: str | Path | bool | None, run_dir: str | Path, run: int | None = None, measure: bool = True
) -> str | None:
    """
    Find the checkpoint to resume from.

    Args:
        resume (`str`, `Path` or `bool`, *optional*):
            A checkpoint folder; or `True` for the latest whole one in `run_dir`.
        run_dir (`str` or `Path`):
            The run's `output_dir`.
        run (`int`, *optional*):
            The run whose checkpoints `True` stands for; any where it is not given.
        measure (`bool`):
            Whether to read every file, or only to look that all are there.

    Returns:
        `str` or `None`: the folder; `None` where `resume` asks for none.

    Raises:
        ValueError: where the checkpoint is not whole, or there is none.
    """
    if not resume:
        return None
    if resume is True:
        return _latest(Path(run_dir), run, measure)
    folder = Path(resume)
    if not folder.is_dir():
        raise ValueError(
            f"`resume_from_checkpoint` must be a checkpoint's folder, got {str(resume)!r}, which does not exist: set "
            "it to one, or to true for the latest whole one in output_dir"
        )
    found = check(folder, measure)
    if found.damage is not None:
        others = (
            other.path
            for where in (folder, folder.parent)
            for other in checkpoints_in(where, measure)
            if other.damage is None
        )
        other = next(others, None)
        advice = "start a new run" if other is None else f"resume from {other}"
        raise ValueError(f"{resume} is not a whole checkpoint ({found.damage}): {advice}")
    return str(resume)


def checkpoints_in(run_dir: Path, measure: bool = True) -> Iterator[Checkpoint]:
    """Check the checkpoints of a folder one by one, the one of the most updates first."""
    return (check(path, measure) for _, path in sorted(_numbered(run_dir), reverse=True))


def check(checkpoint: Path, measure: bool = True) -> Checkpoint:
    """Check a checkpoint against its own list of files; `measure` reads them all."""
    run = None
    try:
        if not (checkpoint / TRAINER_STATE_NAME).exists():
            return Checkpoint(checkpoint, None, f"it has no {TRAINER_STATE_NAME}, so its save was cut short")
        trainer_state = read_mapping(checkpoint / TRAINER_STATE_NAME)
        state = read_state(checkpoint)
        run = state.get("run")
        for name in ("global_step", "epoch"):
            if trainer_state.get(name) != state.get(name):
                raise ValueError(
                    f"{TRAINER_STATE_NAME} has {name} {trainer_state.get(name)} and {STATE_FILE} {state.get(name)}"
                )
        for name, measured in state["files"].items():
            if not (checkpoint / name).is_file():
                raise ValueError(f"it lacks {name}")
            if measure and _measure(checkpoint / name) != measured:
                raise ValueError(f"{name} is damaged")
    except (OSError, ValueError) as error:
        return Checkpoint(checkpoint, run, _reason(error).removesuffix(": resume from another checkpoint"))
    return Checkpoint(checkpoint, run, None)


def runs_in(run_dir: Path) -> set[int]:
    """The numbers of the runs that left checkpoints in a folder, whole or not."""
    return {run for _, path in _numbered(run_dir) if (run := _run_of(path)) is not None}


def remove_old(run_dir: Path, run: int, limit: int | None, keep: str | None) -> None:
    """
    Delete the checkpoints of a run with the fewest updates, until it has `limit` of them.

    The order is that of their updates, whatever the clock said. Checkpoints of other runs are left alone.

    Args:
        run_dir (`Path`), run (`int`):
            The folder, and the run whose checkpoints count.
        limit (`int`, *optional*):
            Checkpoints to keep, at least 1; all where it is `None` or less.
        keep (`str`, *optional*):
            The best checkpoint, which stays whatever its age.
    """
    if limit is None or limit <= 0:
        return
    own = [path for _, path in sorted(_numbered(run_dir)) if _run_of(path) == run]
    best = None if keep is None else Path(keep).resolve()
    removable = [path for path in own[:-1] if path.resolve() != best]
    for path in removable[: max(len(own) - limit, 0)]:
        (path / TRAINER_STATE_NAME).unlink(missing_ok=True)  # first: what is half deleted is not whole
        shutil.rmtree(path, ignore_errors=True)


def _latest(run_dir: Path, run: int | None, measure: bool) -> str:
    damaged: list[str] = []
    others: list[str] = []
    for found in checkpoints_in(run_dir, measure):
        if found.damage is not None:
            damaged.append(f"{found.path.name} is left aside ({found.damage})")
        elif run is not None and found.run != run:
            others.append(str(found.path))
        else:
            if damaged and measure:
                logger.warning(f"the run resumes from {found.path}: {'; '.join(damaged)}")
            return str(found.path)
    if others:
        raise ValueError(
            f"the latest run in {run_dir} has no whole checkpoint yet, and {others[0]} is of an earlier run: start "
            "without resume_from_checkpoint, or set it to that folder to go on with the earlier run"
        )
    reasons = f" ({'; '.join(damaged)})" if damaged else ""
    raise ValueError(
        f"{run_dir} holds no whole checkpoint to resume from{reasons}: start the run without resume_from_checkpoint"
    )


def _numbered(run_dir: Path) -> list[tuple[int, Path]]:
    named = [(path.name.rpartition("-")[2], path) for path in run_dir.glob(f"{PREFIX_CHECKPOINT_DIR}-*")]
    return [(int(number), path) for number, path in named if number.isdecimal() and path.is_dir()]


def _run_of(checkpoint: Path) -> int | None:
    try:
        return read_state(checkpoint).get("run")
    except ValueError:
        return None


def _measure(path: Path) -> list[Any]:
    with open(path, "rb") as file:
        return [path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest()]


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())
