"""`samples.jsonl`: one line per completion, appended by whole units."""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from ..common.writing import writing
from .sampling import Completion
from .units import Unit


SAMPLES_FILE = "samples.jsonl"
_FIELDS = ("problem", "sample", "completion", "reward", "tokens", "truncated")


@dataclass(frozen=True)
class Tally:
    """
    What `samples.jsonl` says of all completions.

    Args:
        correct (`list[int]`):
            Right completions of each problem.
        truncated (`float`):
            Share of the completions that the limit of tokens has cut.
        tokens (`float`):
            Mean number of tokens.
        unjudged (`int`):
            Number of completions without a reward, which count as wrong.
    """

    correct: list[int]
    truncated: float
    tokens: float
    unjudged: int = 0


def lines_of(unit: Unit, completions: Sequence[Completion], rewards: Sequence[float | None]) -> bytes:
    """Return the lines of a unit."""
    rows = [
        {"problem": problem, "sample": sample, "completion": each.text, "reward": reward}
        | {"tokens": len(each.ids), "truncated": each.truncated}
        for (problem, sample), each, reward in zip(unit.keys, completions, rewards, strict=True)
    ]
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def keep_whole_units(path: Path, units: Sequence[Unit]) -> int:
    """
    Cut `samples.jsonl` behind its last whole unit, and return the number of whole units.

    A unit is whole if every line of it is there, and of the form that [`lines_of`] writes. What stands behind the first
    unit that is not whole is dropped, too.
    """
    if not path.exists():
        return 0
    whole, end = 0, 0
    with path.open("rb") as file:
        for unit in units:
            if not all(_is_sample(file.readline(), key) for key in unit.keys):
                break
            whole, end = whole + 1, file.tell()
    if path.stat().st_size > end:
        with writing(path, "the samples"):
            os.truncate(path, end)
    return whole


def tally(path: Path, problems: int) -> Tally:
    """Return what the file says of all completions of `problems` problems."""
    correct, truncated, tokens, lines, unjudged = [0] * problems, 0, 0, 0, 0
    with path.open("rb") as file:
        for sample in _read(file):
            correct[sample["problem"]] += sample["reward"] is not None and sample["reward"] > 0
            unjudged += sample["reward"] is None
            truncated += sample["truncated"]
            tokens += sample["tokens"]
            lines += 1
    return Tally(correct, truncated / lines, tokens / lines, unjudged)


def _read(file: BinaryIO) -> Iterator[dict[str, Any]]:
    return (json.loads(line) for line in file)


def _is_sample(line: bytes, key: tuple[int, int]) -> bool:
    try:
        sample = json.loads(line) if line.endswith(b"\n") else None
    except ValueError:
        return False
    return isinstance(sample, dict) and tuple(sample) == _FIELDS and (sample["problem"], sample["sample"]) == key
