"""A whole sweep: its checks, its runs one after the other, and its results."""

import importlib.util
import json
from pathlib import Path

from ..common.writing import write_atomically
from ..estimates.pass_at_k import table_of
from .checks import check_points
from .figure import draw
from .grid import Run
from .record import Settings, alone, fix
from .report import NOT_FINISHED, as_json, as_report, read_results
from .runs import LOG_FILE, Outcome, evaluation_of, failure_of, make


RESULTS_FILE = "sweep_results.json"
FIGURE_FILE = "sweep.png"


def sweep(settings: Settings, recipe: Path, folder: Path, index: int | None = None) -> tuple[str, bool]:
    """
    Make the runs of a sweep that are not finished, and write its results.

    Args:
        settings (`Settings`):
            The settings of the sweep.
        recipe (`Path`):
            The recipe's file.
        folder (`Path`):
            The folder of the sweep.
        index (`int`, *optional*):
            The only run to make.

    Returns:
        `(str, bool)`: the results as text, and whether every run that was made here succeeded.

    Raises:
        ValueError: before any training, if one of the runs would be refused, or the folder has another sweep.
    """
    runs = settings.runs(folder)
    if index is not None and not 0 <= index < len(runs):
        raise ValueError(f"--index must be from 0 to {len(runs) - 1}, got {index}: set the number of a run")
    if importlib.util.find_spec("matplotlib") is None:
        raise ImportError("matplotlib is not installed, but the figure needs it: run pip install 'es-trl[plots]'")
    check_points(settings, recipe)
    fix(settings, folder)
    outcomes: dict[int, Outcome] = {}
    chosen = runs if index is None else [runs[index]]
    print(f"{len(chosen)} of {len(runs)} runs, each with its {LOG_FILE} below {folder}", flush=True)
    for run in chosen:
        outcomes[run.index] = make(run, settings, folder)
        print(
            f"run {run.index} of 0 to {len(runs) - 1}, {run}: {_said(run, settings, outcomes[run.index])}", flush=True
        )
    text = write_results(settings, folder, {run.index: _reason(run, outcomes.get(run.index)) for run in runs})
    return text, all(outcome.failure is None for outcome in outcomes.values())


def write_results(settings: Settings, folder: Path, reasons: dict[int, str]) -> str:
    """Write the results of the finished runs into the folder of a sweep, and return them as text."""
    with alone(folder):
        results = read_results(settings, folder)
        write_atomically(folder / RESULTS_FILE, json.dumps(as_json(results, reasons), indent=1) + "\n")
        if results.estimates:
            draw(results, folder / FIGURE_FILE)
        else:
            (folder / FIGURE_FILE).unlink(missing_ok=True)
    where = f"{RESULTS_FILE} and {FIGURE_FILE} are" if results.estimates else f"{RESULTS_FILE} is"
    return f"\n{as_report(results, reasons)}\n{where} in {folder}"


def _said(run: Run, settings: Settings, outcome: Outcome) -> str:
    """Return what a line says about a run that was made, or was not."""
    if outcome.is_busy or outcome.failure is not None:
        return _reason(run, outcome)
    found = evaluation_of(run)
    means = table_of(found.correct, found.n, settings.k).mean(axis=0)
    values = ", ".join(f"pass@{k} {mean:.3f}" for k, mean in zip(settings.k, means, strict=True))
    return f"{f'{outcome.seconds:.0f} s' if outcome.seconds else 'finished before'}, {values}"


def _reason(run: Run, outcome: Outcome | None) -> str:
    """Return why a run is missing; its failure may be that of another process."""
    if outcome is not None and outcome.is_busy:
        return "another process is making it"
    failure = failure_of(run)
    return NOT_FINISHED if failure is None else f"failed: {failure}"
