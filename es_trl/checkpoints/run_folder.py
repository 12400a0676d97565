"""The run that an `output_dir` belongs to, and the lock that lets only one run at a time write into it.

`_es_run.json` holds the lineage of the run whose history is in the folder. Each run has a number there, for people.
"""

import contextlib
import json
import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout
from transformers import TrainingArguments
from transformers.utils import logging

from ..common.processes import on_main
from ..common.writing import write_atomically, writing
from .choice import find_checkpoint, runs_in, tidy
from .files import read_mapping
from .lineage import Identity, Lineage


# Names with an underscore are not pushed to the Hub, and both files matter only on this machine.
RUN_FILE = "_es_run.json"
LOCK_FILE = "_es_run.lock"

logger = logging.get_logger(__name__)


def enter_run_folder(args: TrainingArguments) -> None:
    """
    Make `args.output_dir` absolute, in place, and raise a ValueError unless files can be written there.

    The path must be absolute because a reward function or a tool may change the working directory.
    """
    folder = os.path.abspath(args.output_dir)
    try:
        os.makedirs(folder, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"\0")
    except OSError as error:
        raise ValueError(
            f"`output_dir` must be a folder that can be written to, got {args.output_dir!r} ({error.strerror}): set "
            "another one, or make it writable"
        ) from error
    args.output_dir = folder


@contextlib.contextmanager
def only_run(run_dir: Path, is_main: bool) -> Iterator[None]:
    """
    Keep other runs from writing into a folder while the block runs. Every process must enter it.

    The main process holds a lock of the operating system, which is released even if the process is killed.
    """
    lock = FileLock(run_dir / LOCK_FILE)
    on_main(is_main, lambda: _acquire(lock, run_dir))
    try:
        yield
    finally:
        lock.release()  # does nothing in processes that did not acquire it


def _acquire(lock: FileLock, run_dir: Path) -> None:
    with writing(run_dir, "output_dir", "set output_dir to a folder that can be written"):
        run_dir.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise ValueError(
                f"another run is training in {run_dir}{_owner(run_dir)}: set output_dir to another folder, or wait "
                "until that run has ended"
            ) from None
        except NotImplementedError:
            logger.warning(f"{run_dir} is on a file system without locks: make sure that only one run writes into it")


def current_lineage(run_dir: Path) -> Lineage | None:
    """Return the lineage of the run that a folder holds, or `None` if the folder has no record of it."""
    path = run_dir / RUN_FILE
    if not path.exists():
        return None
    return read_mapping(path, "remove it, and give the folder of a checkpoint to resume from").get("lineage")


def find_start(resume: str | bool | None, run_dir: Path, measure: bool = True) -> str | None:
    """
    Call [`find_checkpoint`]. For `True` it looks only at the run that the folder holds.

    With `measure` it first cleans up after a killed run, so the folder must be locked.
    """
    if measure:
        tidy(run_dir)
    by_path = resume is None or isinstance(resume, str | Path)
    return find_checkpoint(resume, run_dir, None if by_path else current_lineage(run_dir), measure)


def next_run(run_dir: Path) -> int:
    """Return the number of a new run: one more than the largest number of the folder's checkpoints."""
    return 1 + max(runs_in(run_dir), default=0)


def write_run(run_dir: Path, run: Identity) -> None:
    """Record the run that the folder holds from now on, and the process that trains it."""
    content = {"run": run.number, "lineage": run.lineage, "host": socket.gethostname(), "process": os.getpid()}
    write_atomically(run_dir / RUN_FILE, json.dumps(content) + "\n")


def _owner(run_dir: Path) -> str:
    try:
        content = read_mapping(run_dir / RUN_FILE)
        return f" (process {content['process']} on {content['host']})"
    except (ValueError, KeyError):  # the other run has not written the file yet
        return ""
