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


ASIDE = "_"  # first letter of a checkpoint's name that makes room for another of the same update

logger = logging.get_logger(__name__)


def find_checkpoint(
    resume: str | Path | bool | None, run_dir: str | Path, lineage: Lineage | None = None, measure: bool = True
) -> str | None:
    """
    Return the checkpoint to resume from: the folder `resume`, or for `True` the latest whole one in `run_dir`.

    Args:
        lineage (`Lineage`, *optional*):
            The run whose checkpoints `True` stands for. Without it all must be of one run.
        measure (`bool`):
            Whether to read every file, or only to look that all are there.
    """
    if not isinstance(resume, str | Path):
        return _latest(Path(run_dir), lineage, measure) if resume else None
    if not str(resume) or not Path(resume).is_dir():
        state = "is a file" if Path(resume).is_file() else "does not exist"
        raise ValueError(
            f"`resume_from_checkpoint` must be a checkpoint's folder, got {str(resume)!r}, which {state}: set it to "
            "one, or to true for the latest whole one in output_dir"
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
    Delete the checkpoints of the run `lineage` with the fewest updates, until it has `limit` of them.

    The order is that of their updates, whatever the clock said. The best checkpoint `keep` and those of other runs
    stay; without a `limit` above 0 all do.
    """
    if limit is None or limit <= 0:
        return
    own = _of_run(run_dir, lineage)
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
    others: list[Path] = []
    for found in _checked(run_dir, measure=False):
        if lineage is not None and found.lineage is not None and not belongs(found.lineage, found.update, lineage):
            others.append(found.path)
            continue
        if measure and found.damage is None:  # only a checkpoint that could be taken is read whole
            found = check(found.path)
        if found.damage is not None:
            damaged.append(f"{found.path.name} is left aside ({found.damage})")
            continue
        if lineage is None:
            _check_one_run(found, run_dir)
        if damaged and measure:
            logger.warning(f"the run resumes from {found.path}: {'; '.join(damaged)}")
        return str(found.path)
    reasons = f" ({'; '.join(damaged)})" if damaged else ""
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
    own = _of_run(run_dir, [[session, None] for session, _ in latest.lineage])
    if strangers := [path for _, path, _ in _states(run_dir) if path not in own]:
        raise ValueError(
            f"several runs have left checkpoints in {run_dir}, {latest.path.name} and {strangers[0].name} among them, "
            "and nothing there says which was the latest: set resume_from_checkpoint to the folder of one"
        )


def _checked(run_dir: Path, measure: bool) -> Iterator[Checkpoint]:
    """Check the checkpoints of a folder one by one, the one of the most updates first."""
    return (check(path, measure) for _, path in reversed(_numbered(run_dir)))


def _numbered(run_dir: Path) -> list[tuple[int, Path]]:
    named = [(path.name.rpartition("-")[2], path) for path in run_dir.glob(f"{PREFIX_CHECKPOINT_DIR}-*")]
    return sorted((int(number), path) for number, path in named if number.isdecimal() and path.is_dir())


def _states(run_dir: Path) -> Iterator[tuple[int, Path, dict[str, Any]]]:
    """Yield update, folder and state of each checkpoint whose state can be read, in the order of updates."""
    for update, path in _numbered(run_dir):
        with contextlib.suppress(OSError, ValueError):
            yield update, path, read_state(path)


def _of_run(run_dir: Path, lineage: Lineage) -> list[Path]:
    return [path for update, path, state in _states(run_dir) if belongs(state["lineage"], update, lineage)]


def _aside(checkpoint: Path) -> Path:
    return checkpoint.with_name(ASIDE + checkpoint.name)
