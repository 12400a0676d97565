"""`passk.json`: the result of an evaluation."""

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..common.tables import as_table
from .intervals import LEVEL, RESAMPLES, Interval


RESULT_FILE = "passk.json"
SETTINGS_FILE = "eval.json"


@dataclass(frozen=True)
class Evaluation:
    """
    The result of an evaluation.

    Args:
        model (`str`), data (`str`), rewards (`list[str]`):
            What was evaluated.
        problems (`int`), n (`int`):
            Number of problems, and of completions per problem.
        settings (`dict[str, Any]`):
            `temperature`, `top_p`, `max_new_tokens` and `seed`.
        correct (`list[int]`):
            Right completions of each problem, from 0 to `n`.
        truncated (`float`), tokens (`float`):
            Share of the completions that the limit has cut, and their mean number of tokens.
        avg_at_n (`Interval`):
            Mean accuracy.
        pass_at_k (`dict[int, Interval]`), pass_hat_k (`dict[int, Interval]`):
            pass@k and pass^k by k, means over problems.
        versions (`dict[str, str]`), seconds (`float`):
            Versions of packages, and the duration of the last start that has sampled something.
        digest (`str`, *optional*):
            Digest of the problems; `None` where the folder does not have it.
    """

    model: str
    data: str
    rewards: list[str]
    problems: int
    n: int
    settings: dict[str, Any]
    correct: list[int]
    truncated: float
    tokens: float
    avg_at_n: Interval
    pass_at_k: dict[int, Interval]
    pass_hat_k: dict[int, Interval]
    versions: dict[str, str]
    seconds: float
    digest: str | None = None

    @property
    def about(self) -> str:
        """What was evaluated, in words."""
        return f"{self.model} on {self.data}: {self.problems} problems, {self.n} completions each"

    def as_json(self) -> str:
        """Return the text of `passk.json`."""
        head = {name: getattr(self, name) for name in ("model", "data", "rewards", "problems", "n")}
        body = {name: getattr(self, name) for name in ("correct", "truncated", "tokens")}
        curves = {
            name: {str(k): vars(each) for k, each in curve.items()}
            for name, curve in (("pass@k", self.pass_at_k), ("pass^k", self.pass_hat_k))
        }
        interval = {"level": LEVEL, "resamples": RESAMPLES, "over": "problems"}
        end = {"interval": interval, "versions": self.versions, "seconds": self.seconds}
        content = {**head, **self.settings, **body, "avg@n": vars(self.avg_at_n), **curves, **end}
        lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in content.items())
        return f"{{\n{lines}\n}}\n"

    def as_table(self) -> str:
        """Return k, pass@k with its interval, and pass^k as text."""
        rows = [
            (str(k), f"{each.value:.4f}", f"{each.low:.4f} to {each.high:.4f}", f"{self.pass_hat_k[k].value:.4f}")
            for k, each in self.pass_at_k.items()
        ]
        return as_table(("k", "pass@k", f"{100 * LEVEL:.0f} % interval over problems", "pass^k"), rows)


def read_evaluation(folder: str | Path) -> Evaluation:
    """
    Return the evaluation in a folder.

    Args:
        folder (`str` or `Path`):
            A folder with a `passk.json`.

    Raises:
        ValueError: if the file is missing or damaged.
    """
    path = Path(folder) / RESULT_FILE
    if not path.is_file():
        raise ValueError(f"{path} does not exist: give the folder of an evaluation that has ended")
    beside = path.with_name(SETTINGS_FILE)
    with _reading(beside):
        # a result that was copied alone has no digest
        digest = str(json.loads(beside.read_text(encoding="utf-8"))["problems"]) if beside.is_file() else None
    with _reading(path):
        return _parsed(json.loads(path.read_text(encoding="utf-8")), digest)


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Raise a ValueError that names the file where its content has another form."""
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        cause = f"lacks {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
        raise ValueError(f"{path} cannot be read ({cause}): run the evaluation again") from error


def evaluation_folders(folders: Sequence[str | Path]) -> list[Path | None]:
    """
    Return the folder of an evaluation for each folder: itself, or an `eval-*` in it; `None` if there is none.

    Of several, those that all of the runs have are preferred, and among them the one that is newest in the first run.
    """
    own = [
        [Path(folder)] if (Path(folder) / RESULT_FILE).is_file() else _evaluations_of(Path(folder))
        for folder in folders
    ]
    runs = [found for folder, found in zip(folders, own, strict=True) if found and found != [Path(folder)]]
    shared = set.intersection(*({each.name for each in found} for found in runs)) if runs else set()
    name = next((each.name for each in runs[0] if each.name in shared), None) if runs else None
    return [next((each for each in found if each.name == name), found[0] if found else None) for found in own]


def _evaluations_of(folder: Path) -> list[Path]:
    """Return the folders of the evaluations in that of a run, from the newest one on."""
    found = [path.parent for path in folder.glob(f"eval-*/{RESULT_FILE}")]
    return sorted(found, key=lambda each: -(each / RESULT_FILE).stat().st_mtime_ns)


def _parsed(content: dict[str, Any], digest: str | None) -> Evaluation:
    curves = {name: {int(k): _interval(each) for k, each in content[name].items()} for name in ("pass@k", "pass^k")}
    found = Evaluation(
        **{name: str(content[name]) for name in ("model", "data")},
        **{name: list(content[name]) for name in ("rewards", "correct")},
        **{name: int(content[name]) for name in ("problems", "n")},
        **{name: float(content[name]) for name in ("truncated", "tokens", "seconds")},
        settings={name: content[name] for name in ("temperature", "top_p", "max_new_tokens", "seed")},
        avg_at_n=_interval(content["avg@n"]),
        pass_at_k=curves["pass@k"],
        pass_hat_k=curves["pass^k"],
        versions=dict(content["versions"]),
        digest=digest,
    )
    counts = found.correct
    if len(counts) != found.problems or not all(type(each) is int and 0 <= each <= found.n for each in counts):
        raise ValueError(f"`correct` must have {found.problems} numbers from 0 to {found.n}")
    if not counts or not found.pass_at_k or set(found.pass_at_k) != set(found.pass_hat_k):
        raise ValueError("there must be problems, and pass@k and pass^k of the same k")
    if not all(1 <= k <= found.n for k in found.pass_at_k):
        raise ValueError(f"each k must be from 1 to {found.n}")
    return found


def _interval(content: dict[str, Any]) -> Interval:
    return Interval(*(float(content[name]) for name in ("value", "low", "high")))
