"""The file `sweep.json`, which fixes the sweep of a folder: its recipe, options, grid, seeds and evaluation."""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock
from transformers.utils import logging

from ..checkpoints.files import read_mapping
from ..common.shown import shown
from ..common.writing import write_atomically
from .grid import Grid, Run, runs_of


RECORD_FILE = "sweep.json"
RECIPE_COPY = "recipe.yaml"  # the runs read it, so that an edit of the original cannot reach half of them
_LOCK_FILE = "_sweep.lock"

logger = logging.get_logger(__name__)


@dataclass(frozen=True)
class Settings:
    """
    What makes a sweep.

    Args:
        recipe (`str`):
            The text of the recipe.
        options (`list[str]`):
            The options that override it in every run.
        grid (`dict[str, list[str]]`):
            The values of each key.
        seeds (`int`):
            Number of seeds per point, which are 0, 1 and so on.
        data (`str`, *optional*):
            The data of the evaluation. `None` leaves it to `eval`.
        split (`str`, *optional*):
            The split of these data.
        n (`int`):
            Completions per problem of the evaluation.
        k (`list[int]`):
            The values of k of pass@k.
    """

    recipe: str
    options: list[str]
    grid: Grid
    seeds: int
    data: str | None
    split: str | None
    n: int
    k: list[int]

    def runs(self, folder: Path) -> list[Run]:
        """Return the runs of the sweep in `folder`, in their order."""
        return runs_of(self.grid, self.seeds, folder)


def fix(settings: Settings, folder: Path) -> None:
    """
    Write the settings into a folder, or check that its sweep has the same. More seeds and more values may be added.

    Raises:
        ValueError: if the folder has another sweep. The message names what differs.
    """
    with alone(folder):
        path = folder / RECORD_FILE
        if path.exists():
            before = read_mapping(path, "remove it, or set another --output_dir")
            _check_same(before, asdict(settings), folder)
        write_atomically(folder / RECIPE_COPY, settings.recipe)
        write_atomically(path, json.dumps(asdict(settings), indent=1) + "\n")


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep other processes of the same sweep from writing its files while the block runs; they wait."""
    folder.mkdir(parents=True, exist_ok=True)
    with hold(folder / _LOCK_FILE):
        yield


@contextlib.contextmanager
def hold(path: Path, timeout: float = -1) -> Iterator[None]:
    """
    Hold a lock while the block runs. The operating system releases it even if the process is killed.

    Args:
        path (`Path`):
            The file of the lock.
        timeout (`float`, *optional*, defaults to `-1`):
            Seconds to wait for another process; a negative number waits for ever.

    Raises:
        Timeout: if another process holds it for longer.
    """
    lock = FileLock(path)
    try:
        lock.acquire(timeout=timeout)
    except NotImplementedError:
        logger.warning(f"{path.parent} is on a file system without locks: make sure that one process makes each run")
    try:
        yield
    finally:
        lock.release()  # does nothing where it is not held


def _check_same(before: dict[str, Any], now: dict[str, Any], folder: Path) -> None:
    # as text, because the order of the grid's keys is a part of the sweep
    equal = [name for name in now if json.dumps(before.get(name)) == json.dumps(now[name])]
    differing = [name for name in now if name not in equal and not _is_extended(name, before, now)]
    if not differing:
        return
    words = "; ".join(
        "the text of the recipe"
        if name == "recipe"
        else f"{name} was {shown(before.get(name))} and is {shown(now[name])}"
        for name in differing
    )
    raise ValueError(
        f"{folder} holds a sweep with other settings ({words}): set another --output_dir, or the same settings"
    )


def _is_extended(name: str, before: dict[str, Any], now: dict[str, Any]) -> bool:
    """Return whether a setting has only grown, so that every earlier run is still one of the sweep."""
    old, new = before.get(name), now[name]
    if name == "seeds":
        return isinstance(old, int) and old <= new
    if name != "grid" or not isinstance(old, dict) or list(old) != list(new):
        return False
    return all(set(old[key]) <= set(new[key]) for key in new)
