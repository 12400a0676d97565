"""pass@k of a run: evaluations in its folder, and those that were made while it trained."""

import json
import re
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..checkpoints.digests import weights_digest
from ..control.values import is_number
from ..estimates.result import RESULT_FILE, SETTINGS_FILE, Evaluation, read_evaluation
from ..tracking.history import HISTORY_FILE


STATE_FILE = "trainer_state.json"  # transformers' own
METRIC = re.compile(r"eval_(?:(?P<data>.+)_)?pass@(?P<k>\d+)")


@dataclass(frozen=True)
class Curve:
    """pass@k over the rollouts of a run, for one k and one data set."""

    name: str
    points: list[tuple[int, float]]  # rollout, value


def evaluations_in(folder: Path) -> dict[str, Evaluation]:
    """Return the evaluations of a run's model in its folders `eval-*`, by their names."""
    found = sorted(path.parent for path in folder.glob(f"eval-*/{RESULT_FILE}"))
    now = weights_digest(folder) if found else None
    return {path.name.removeprefix("eval-"): read_evaluation(path) for path in found if not _is_of_others(path, now)}


def is_of_earlier(evaluation: Path) -> bool:
    """Return whether an evaluation in the folder of a run is of other weights than the run has now."""
    return evaluation.name.startswith("eval-") and _is_of_others(evaluation, weights_digest(evaluation.parent))


def _is_of_others(evaluation: Path, now: str | None) -> bool:
    """Return whether an evaluation is of other weights than those with the digest `now`, as far as both are known."""
    settings = evaluation / SETTINGS_FILE
    if now is None or not settings.is_file():
        return False
    try:
        return json.loads(settings.read_bytes())["weights"] != now
    except (ValueError, KeyError, TypeError):
        return False  # reading the evaluation says what is damaged


def during_training(folder: Path, records: list[dict[str, Any]]) -> list[Curve]:
    """Return pass@k over the rollouts, from the metrics that transformers kept in the run's latest checkpoint."""
    found: dict[str, list[tuple[int, float]]] = {}
    updates = [record["global_step"] for record in records]
    for entry in _log(folder):
        if not is_number(entry.get("step")):
            continue
        done = bisect_left(updates, entry["step"])  # rollouts that were trained on before the evaluation
        for key, value in entry.items():
            if (metric := METRIC.fullmatch(key)) and is_number(value):
                name = f"pass@{metric['k']}" + (f" on {metric['data']}" if metric["data"] else "")
                found.setdefault(name, []).append((records[max(done - 1, 0)]["rollout"], float(value)))
    return [Curve(name, points) for name, points in sorted(found.items(), key=lambda item: _order(item[0]))]


def _order(name: str) -> list[str | int]:
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]


def _log(folder: Path) -> list[dict[str, Any]]:
    """Return the longest log of this run; checkpoints of an earlier run in the folder have another history."""
    with open(folder / HISTORY_FILE, "rb") as file:
        first = file.readline()
    logs = [[]]
    for path in (folder / STATE_FILE, *folder.glob(f"checkpoint-*/{STATE_FILE}")):
        history = path.with_name(HISTORY_FILE)
        if path.exists() and _begins_with(history, first):
            logs.append(list(_entries(path)))
    return max(logs, key=len)


def _begins_with(history: Path, first: bytes) -> bool:
    if not history.exists():  # of a version that kept none in a checkpoint
        return True
    with open(history, "rb") as file:
        line = file.readline()
    return line in (first, b"")  # a checkpoint inside the first rollout has an empty one


def _entries(path: Path) -> Iterator[dict[str, Any]]:
    try:
        yield from (entry for entry in json.loads(path.read_bytes())["log_history"] if isinstance(entry, dict))
    except (ValueError, KeyError, TypeError):
        return  # a checkpoint that a kill cut off is no fault of the run
