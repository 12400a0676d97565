"""pass@k of a run: evaluations in its folder, and those that were made while it trained."""

import json
import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..control.values import is_number
from ..tracking.history import HISTORY_FILE


EVALUATION_FILE = "passk.json"
STATE_FILE = "trainer_state.json"  # transformers' own
METRIC = re.compile(r"eval_(?:(?P<data>.+)_)?pass@(?P<k>\d+)")


@dataclass(frozen=True)
class Evaluation:
    """pass@k over k, with the ends of its interval."""

    name: str
    about: str  # model, data and numbers, in words
    points: list[tuple[int, float, float, float]]  # k, value, low, high


@dataclass(frozen=True)
class Curve:
    """pass@k over the rollouts of a run, for one k and one data set."""

    name: str
    points: list[tuple[int, float]]  # rollout, value


def evaluations_in(folder: Path) -> list[Evaluation]:
    """Return the evaluations in the folders `eval-*` of a run, in the order of their names."""
    return [_read_evaluation(path) for path in sorted(folder.glob(f"eval-*/{EVALUATION_FILE}"))]


def _read_evaluation(path: Path) -> Evaluation:
    try:
        content = json.loads(path.read_bytes())
        points = sorted((int(k), *_interval(estimate)) for k, estimate in content["pass@k"].items())
        about = (
            f"{content['model']} on {content['data']}: {content['problems']} problems, {content['n']} completions each"
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is damaged ({error!r}): evaluate again, or remove the folder") from error
    return Evaluation(path.parent.name.removeprefix("eval-"), about, points)


def _interval(estimate: dict[str, float]) -> tuple[float, float, float]:
    value, low, high = (estimate[name] for name in ("value", "low", "high"))
    if not all(map(is_number, (value, low, high))):
        raise ValueError(f"an estimate must be three numbers, got {estimate}")
    return value, low, high


def during_training(folder: Path, records: list[dict[str, Any]]) -> list[Curve]:
    """Return pass@k over the rollouts, from the metrics that transformers kept in the run's latest checkpoint."""
    found: dict[str, list[tuple[int, float]]] = {}
    updates = [record["global_step"] for record in records]
    for entry in _log(folder):
        begun = bisect_right(updates, entry.get("step", -1))  # rollouts that began before the evaluation
        for key, value in entry.items():
            if (metric := METRIC.fullmatch(key)) and begun and is_number(value):
                name = f"pass@{metric['k']}" + (f" on {metric['data']}" if metric["data"] else "")
                found.setdefault(name, []).append((records[begun - 1]["rollout"], float(value)))
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
