"""Which checkpoint a run goes on from, and which are kept."""

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


ASIDE = "_"  # what the name of a checkpoint begins with that makes room for another of the same update

logger = logging.get_logger(__name__)


def find_checkpoint(
    resume: str | Path | bool | None, run_dir: str | Path, lineage: Lineage | None = None, measure: bool = True
) -> str | None:
    """
    Find the checkpoint to resume from.

    Args:
        resume (`str`, `Path` or `bool`, *optional*):
            A checkpoint folder; or `True` for the latest whole one in `run_dir`.
        run_dir (`str` or `Path`):
            The run's `output_dir`.
        lineage (`Lineage`, *optional*):
            The run whose checkpoints `True` stands for. Without it all must be of one run.
        measure (`bool`):
            Whether to read every file, or only to look that all are there.

    Returns:
        `str` or `None`: the folder; `None` where `resume` asks for none.

    Raises:
        ValueError: where the checkpoint is not whole, there is none, or nothing says of which run it must be.
    """
    if resume is None or (not isinstance(resume, str | Path) and not resume):
        return None
    if not isinstance(resume, str | Path):
        return _latest(Path(run_dir), lineage, measure)
    if not str(resume) or not Path(resume).is_dir():
        state = "is a file" if Path(resume).is_file() else "does not exist"
        raise ValueError(
            f"`resume_from_checkpoint` must be a checkpoint's folder, got {str(resume)!r}, which {state}: set it to "
            "one, or to true for the latest whole one in output_dir"
        )
    found = check(Path(resume), measure)
    if found.damage is not None:
        places = (found.path, found.path.parent)
        others = (other.path for where in places for other in checkpoints_in(where, measure) if other.damage is None)
        other = next(others, None)
        advice = "start a new run" if other is None else f"resume from {other}"
        raise ValueError(f"{resume} is not a whole checkpoint ({found.damage}): {advice}")
    return str(resume)


def checkpoints_in(run_dir: Path, measure: bool = True) -> Iterator[Checkpoint]:
    """Check the checkpoints of a folder one by one, the one of the most updates first."""
    return (check(path, measure) for _, path in sorted(_numbered(run_dir), reverse=True))


def runs_in(run_dir: Path) -> set[int]:
    """The numbers of the runs that left checkpoints in a folder."""
    return {state["run"] for _, path in _numbered(run_dir) if (state := _state_of(path)) is not None}


def remove_old(run_dir: Path, lineage: Lineage, limit: int | None, keep: str | None) -> None:
    """
    Delete the checkpoints of a run with the fewest updates, until it has `limit` of them.

    The order is that of their updates, whatever the clock said. Checkpoints of other runs are left alone.

    Args:
        run_dir (`Path`), lineage (`Lineage`):
            The folder, and the run whose checkpoints count.
        limit (`int`, *optional*):
            Checkpoints to keep, at least 1; all where it is `None` or less.
        keep (`str`, *optional*):
            The best checkpoint, which stays whatever its age.
    """
    if limit is None or limit <= 0:
        return
    own = [path for update, path in sorted(_numbered(run_dir)) if _is_of(path, update, lineage)]
    best = None if keep is None else Path(keep).resolve()
    removable = [path for path in own[:-1] if path.resolve() != best]
    for path in removable[: max(len(own) - limit, 0)]:
        discard(path)


def discard(checkpoint: Path) -> None:
    """Delete a checkpoint so that a part of it is never taken for a whole one."""
    with contextlib.suppress(OSError):
        (checkpoint / TRAINER_STATE_NAME).unlink(missing_ok=True)
    shutil.rmtree(checkpoint, ignore_errors=True)


def set_aside(checkpoint: Path) -> None:
    """Make room for a checkpoint of the same update; the old one stays under another name until that is whole."""
    if checkpoint.exists():
        discard(_aside(checkpoint))
        checkpoint.rename(_aside(checkpoint))


def bring_back(checkpoint: Path) -> None:
    """Put the checkpoint that was set aside in the place of one whose save failed."""
    discard(checkpoint)
    if _aside(checkpoint).exists():
        _aside(checkpoint).rename(checkpoint)


def tidy(run_dir: Path) -> None:
    """Finish what a kill has left: bring back what was set aside for a save that was cut short, delete the rest."""
    for path in run_dir.glob(f"{ASIDE}{PREFIX_CHECKPOINT_DIR}-*"):
        place = path.with_name(path.name.removeprefix(ASIDE))
        if (place / TRAINER_STATE_NAME).exists():
            discard(path)
        else:
            bring_back(place)


def drop_aside(checkpoint: Path) -> None:
    """Delete what was set aside for a checkpoint, and empty folders beside it, which transformers may leave."""
    discard(_aside(checkpoint))
    for path in checkpoint.parent.glob(f"{PREFIX_CHECKPOINT_DIR}-*"):
        with contextlib.suppress(OSError):  # it is not empty
            path.rmdir()


def _latest(run_dir: Path, lineage: Lineage | None, measure: bool) -> str:
    damaged: list[str] = []
    others: list[str] = []
    latest: Checkpoint | None = None
    for found in checkpoints_in(run_dir, measure=False):
        if lineage is not None and found.lineage is not None and not belongs(found.lineage, found.update, lineage):
            others.append(str(found.path))
            continue
        if measure and found.damage is None:  # only a checkpoint that could be taken is read whole
            found = check(found.path)
        if found.damage is not None:
            damaged.append(f"{found.path.name} is left aside ({found.damage})")
        else:
            latest = found
            break
    named = "; ".join(damaged)
    if latest is not None:
        if lineage is None:
            _check_one_run(latest, run_dir)
        if damaged and measure:
            logger.warning(f"the run resumes from {latest.path}: {named}")
        return str(latest.path)
    reasons = f" ({named})" if damaged else ""
    if others:
        raise ValueError(
            f"the latest run in {run_dir} has no whole checkpoint{reasons}, and {others[0]} is not of that run: start "
            "without resume_from_checkpoint, or set it to that folder to go on from there"
        )
    raise ValueError(
        f"{run_dir} holds no whole checkpoint to resume from{reasons}: start the run without resume_from_checkpoint"
    )


def _check_one_run(latest: Checkpoint, run_dir: Path) -> None:
    """Raise where nothing says which run a folder holds, and several have left checkpoints in it."""
    own = [[session, None] for session, _ in latest.lineage]
    strangers = [path for update, path in _numbered(run_dir) if _state_of(path) and not _is_of(path, update, own)]
    if strangers:
        raise ValueError(
            f"several runs have left checkpoints in {run_dir}, {latest.path.name} and {strangers[0].name} among them, "
            "and nothing there says which was the latest: set resume_from_checkpoint to the folder of one"
        )


def _numbered(run_dir: Path) -> list[tuple[int, Path]]:
    named = [(path.name.rpartition("-")[2], path) for path in run_dir.glob(f"{PREFIX_CHECKPOINT_DIR}-*")]
    return [(int(number), path) for number, path in named if number.isdecimal() and path.is_dir()]


def _state_of(checkpoint: Path) -> dict[str, Any] | None:
    try:
        return read_state(checkpoint)
    except (OSError, ValueError):
        return None


def _is_of(checkpoint: Path, update: int, lineage: Lineage) -> bool:
    state = _state_of(checkpoint)
    return state is not None and belongs(state["lineage"], update, lineage)


def _aside(checkpoint: Path) -> Path:
    return checkpoint.with_name(ASIDE + checkpoint.name)
