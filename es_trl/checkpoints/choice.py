"""The choice of the checkpoint that a run resumes from, and of the checkpoints to delete."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR
from transformers.utils import logging

from .files import Checkpoint, check, read_state
from .lineage import Lineage, belongs


ASIDE = "_"  # prefix of an old checkpoint's name while a new one of the same update is written

logger = logging.get_logger(__name__)


def find_checkpoint(
    resume: str | Path | bool | None, run_dir: str | Path, lineage: Lineage | None = None, measure: bool = True
) -> str | None:
    """
    Return the checkpoint to resume from.

    Args:
        resume (`str`, `Path` or `bool`, *optional*):
            Folder of a checkpoint, or `True` for the latest whole checkpoint in `run_dir`.
        run_dir (`str` or `Path`):
            `output_dir` of the run.
        lineage (`Lineage`, *optional*):
            The run to which the checkpoint must belong if `resume` is `True`. Without it, all checkpoints in the folder
            must belong to one run.
        measure (`bool`, *optional*, defaults to `True`):
            Whether to verify the content of every file, or only that it exists.

    Returns:
        `str`: the folder, or `None` if `resume` is `None` or `False`.

    Raises:
        ValueError: if no whole checkpoint is found.
    """
    if not isinstance(resume, str | Path):
        return _latest(Path(run_dir), lineage, measure) if resume else None
    if not str(resume) or not Path(resume).is_dir():
        state = "is a file" if Path(resume).is_file() else "does not exist"
        raise ValueError(
            f"`resume_from_checkpoint` must be a checkpoint's folder, got {str(resume)!r}, which {state}: set it to "
            "such a folder, or to true for the latest whole checkpoint in output_dir"
        )
    found = check(Path(resume), measure)
    if found.damage is not None:
        near = (other for where in (found.path, found.path.parent) for other in _checked(where, measure))
        other = next((other.path for other in near if other.damage is None), None)
        advice = "start a new run" if other is None else f"resume from {other}"
        raise ValueError(f"{resume} is not a whole checkpoint ({found.damage}): {advice}")
    return str(resume)


def runs_in(run_dir: Path) -> set[int]:
    """Return the numbers of the runs that left checkpoints in a folder."""
    return {state["run"] for _, _, state in _states(run_dir)}


def remove_old(run_dir: Path, lineage: Lineage, limit: int | None, keep: str | None) -> None:
    """
    Delete the oldest checkpoints of a run.

    The checkpoints with the fewest updates count as the oldest, as clocks may be wrong. Those of other runs stay.

    Args:
        run_dir (`Path`):
            `output_dir` of the run.
        lineage (`Lineage`):
            The run.
        limit (`int`, *optional*):
            Number of checkpoints to keep. With `None` or 0 all are kept.
        keep (`str`, *optional*):
            The best checkpoint, which is kept in any case.
    """
    if limit is None or limit <= 0:
        return
    own = _of_run(run_dir, lineage)
    best = None if keep is None else Path(keep).resolve()
    removable = [path for path in own[:-1] if path.resolve() != best]
    for path in removable[: max(len(own) - limit, 0)]:
        discard(path)


def discard(checkpoint: Path) -> None:
    """Delete a checkpoint. If this is interrupted, the rest does not count as a whole checkpoint."""
    with contextlib.suppress(OSError):
        (checkpoint / TRAINER_STATE_NAME).unlink(missing_ok=True)
    shutil.rmtree(checkpoint, ignore_errors=True)


def set_aside(checkpoint: Path) -> None:
    """Rename a checkpoint to make room for a new one of the same update. It is kept until the new one is whole."""
    if checkpoint.exists():
        discard(_aside(checkpoint))
        checkpoint.rename(_aside(checkpoint))


def bring_back(checkpoint: Path) -> None:
    """Replace a checkpoint whose save failed by the one that was set aside for it."""
    discard(checkpoint)
    if _aside(checkpoint).exists():
        _aside(checkpoint).rename(checkpoint)


def tidy(run_dir: Path) -> None:
    """Clean up after a killed run: bring back old checkpoints whose replacement is not whole, delete the others."""
    for path in run_dir.glob(f"{ASIDE}{PREFIX_CHECKPOINT_DIR}-*"):
        place = path.with_name(path.name.removeprefix(ASIDE))
        if (place / TRAINER_STATE_NAME).exists():
            discard(path)
        else:
            bring_back(place)


def drop_aside(checkpoint: Path) -> None:
    """Delete the checkpoint that was set aside for this one, and empty folders that transformers may have left."""
    discard(_aside(checkpoint))
    for path in checkpoint.parent.glob(f"{PREFIX_CHECKPOINT_DIR}-*"):
        with contextlib.suppress(OSError):  # the folder is not empty
            path.rmdir()


def _latest(run_dir: Path, lineage: Lineage | None, measure: bool) -> str:
    damaged: list[str] = []
    others: list[Path] = []
    for found in _checked(run_dir, measure=False):
        if lineage is not None and found.lineage is not None and not belongs(found.lineage, found.update, lineage):
            others.append(found.path)
            continue
        if measure and found.damage is None:  # reading all files is slow, so only a candidate is read
            found = check(found.path)
        if found.damage is not None:
            damaged.append(f"{found.path.name} is skipped ({found.damage})")
            continue
        if lineage is None:
            _check_one_run(found, run_dir)
        if damaged and measure:
            logger.warning(f"the run resumes from {found.path}: {'; '.join(damaged)}")
        return str(found.path)
    reasons = f" ({'; '.join(damaged)})" if damaged else ""
    if others:
        raise ValueError(
            f"the latest run in {run_dir} has no whole checkpoint{reasons}, and {others[0]} belongs to another run: "
            "start without resume_from_checkpoint, or set it to that folder to resume the other run"
        )
    raise ValueError(
        f"{run_dir} holds no whole checkpoint to resume from{reasons}: start the run without resume_from_checkpoint"
    )


def _check_one_run(latest: Checkpoint, run_dir: Path) -> None:
    """Raise if a folder holds checkpoints of several runs. Call it if there is no record of the latest run."""
    own = _of_run(run_dir, [[session, None] for session, _ in latest.lineage])
    if strangers := [path for _, path, _ in _states(run_dir) if path not in own]:
        raise ValueError(
            f"{run_dir} holds checkpoints of several runs (for example {latest.path.name} and {strangers[0].name}) but "
            "no record of the latest run: set resume_from_checkpoint to the folder of one checkpoint"
        )


def _checked(run_dir: Path, measure: bool) -> Iterator[Checkpoint]:
    """Check the checkpoints of a folder one by one, beginning with the one of the most updates."""
    return (check(path, measure) for _, path in reversed(_numbered(run_dir)))


def _numbered(run_dir: Path) -> list[tuple[int, Path]]:
    named = [(path.name.rpartition("-")[2], path) for path in run_dir.glob(f"{PREFIX_CHECKPOINT_DIR}-*")]
    return sorted((int(number), path) for number, path in named if number.isdecimal() and path.is_dir())


def _states(run_dir: Path) -> Iterator[tuple[int, Path, dict[str, Any]]]:
    """Yield the update, the folder and the state of each checkpoint with a readable state, in the order of updates."""
    for update, path in _numbered(run_dir):
        with contextlib.suppress(OSError, ValueError):
            yield update, path, read_state(path)


def _of_run(run_dir: Path, lineage: Lineage) -> list[Path]:
    return [path for update, path, state in _states(run_dir) if belongs(state["lineage"], update, lineage)]


def _aside(checkpoint: Path) -> Path:
    return checkpoint.with_name(ASIDE + checkpoint.name)
