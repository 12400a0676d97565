"""One run of a sweep: its training and its evaluation in processes of their own, its lock and its log.

What is finished is not made again. A run is trained once `_sweep_trained.json` is in its folder, and evaluated once
`passk.json` is in the folder `eval-sweep` there.
"""

import json
import os
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import Timeout

from ..checkpoints.run_folder import LOCK_FILE, find_start
from ..common.children import python_command
from ..common.writing import write_atomically
from ..estimates.result import RESULT_FILE, Evaluation, read_evaluation
from .grid import Run
from .record import RECIPE_COPY, Settings, hold


EVALUATION = "eval-sweep"
LOG_FILE = "log.txt"
_TRAINED = "_sweep_trained.json"  # names with an underscore are not pushed to the Hub
_FAILED = "_sweep_failed.txt"  # the last line of the log, until the next start of the run
_OWN_LOCK = "_sweep_run.lock"  # held over training and evaluation; the training holds the folder's own lock, too
_MODEL_FILES = ("config.json", "adapter_config.json")  # the first files of a model that `train` saves


@dataclass(frozen=True)
class Outcome:
    """
    What became of a run in this process.

    Args:
        seconds (`float`):
            Time that it took here; 0 if it was finished before.
        failure (`str`, *optional*):
            The last line of its log if it failed.
        is_busy (`bool`, *optional*, defaults to `False`):
            Whether another process was making it, so that nothing was done.
    """

    seconds: float = 0.0
    failure: str | None = None
    is_busy: bool = False


def is_finished(run: Run) -> bool:
    """Return whether a run has been trained and evaluated."""
    return (run.folder / EVALUATION / RESULT_FILE).is_file()


def failure_of(run: Run) -> str | None:
    """Return the last line of the log of a run that has failed in any process, or `None`."""
    path = run.folder / _FAILED
    return path.read_text() if path.is_file() else None


def evaluation_of(run: Run) -> Evaluation:
    """Return the evaluation of a finished run; raise a `ValueError` if it cannot be read."""
    return read_evaluation(run.folder / EVALUATION)


def make(run: Run, settings: Settings, folder: Path) -> Outcome:
    """
    Train and evaluate a run of the sweep in `folder`, from where an earlier process has left it.

    Returns:
        `Outcome`: what became of it. A process that fails raises nothing.
    """
    if is_finished(run):
        return Outcome()
    run.folder.mkdir(parents=True, exist_ok=True)
    begun = time.monotonic()
    try:
        with hold(run.folder / _OWN_LOCK, timeout=0):
            with hold(run.folder / LOCK_FILE, timeout=0):  # free again before `train` takes it
                pass
            (run.folder / _FAILED).unlink(missing_ok=True)
            failure = None
            for name, words in _steps(run, settings, folder):
                failure = failure or _execute(name, words, run.folder)
            if failure is not None:
                write_atomically(run.folder / _FAILED, failure)
            return Outcome(time.monotonic() - begun, failure)
    except Timeout:
        return Outcome(is_busy=True)


def _steps(run: Run, settings: Settings, folder: Path) -> list[tuple[str, list[str]]]:
    """Return the commands that are left of a run, by their names."""
    data = [f"--{name}={value}" for name, value in (("data", settings.data), ("split", settings.split)) if value]
    numbers = ["--n", str(settings.n), "--k", ",".join(map(str, settings.k))]
    place = ["--output_dir", str(run.folder / EVALUATION)]
    steps = [("eval", [str(run.folder), *data, *numbers, *place])]
    if not (run.folder / _TRAINED).exists():
        own = [f"--seed={run.seed}", f"--output_dir={run.folder}", *_resume(run.folder)]
        steps.insert(0, ("train", [str(folder / RECIPE_COPY), *settings.options, *run.point.options, *own]))
    return steps


def _resume(folder: Path) -> Sequence[str]:
    """Return the option that resumes a run, or none where it has no whole checkpoint yet."""
    for name in _MODEL_FILES:  # without them `train` saves the model of a finished run again, in case a kill cut it
        (folder / name).unlink(missing_ok=True)
    try:
        find_start(True, folder)
    except ValueError:  # there is none, so the run starts afresh
        return ()
    return ("--resume_from_checkpoint=true",)


def _execute(name: str, words: list[str], folder: Path) -> str | None:
    """Run a command of `es_trl` that ends with this process, and return the last line of the log if it fails."""
    code = (
        f"from es_trl.common.children import end_with; end_with({os.getpid()}); "
        "from es_trl.__main__ import main; sys.exit(main())"
    )
    quiet = {**os.environ, "TQDM_DISABLE": "1", "PYTHONUNBUFFERED": "1"}  # a log has no use for progress bars
    log, begun = folder / LOG_FILE, time.monotonic()
    with open(log, "ab") as file:
        command = [*python_command(code), name, *words]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=quiet)
    if done.returncode != 0:
        lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
        return lines[-1].strip() if lines else f"{name} ended with exit code {done.returncode}"
    if name == "train":
        write_atomically(folder / _TRAINED, json.dumps({"seconds": round(time.monotonic() - begun, 1)}) + "\n")
    return None
