"""The results of a sweep as `sweep_results.json` and as a table."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..common.shown import wrapped
from ..common.tables import as_table
from ..config.values import read_yaml_text
from ..estimates.intervals import LEVEL, RESAMPLES, Interval
from ..estimates.result import Evaluation
from .estimates import Best, Estimate, best_of, estimate
from .grid import Point, Run, points_of
from .record import Settings
from .runs import EVALUATION, evaluation_of, is_finished


NOT_FINISHED = "not finished"  # why a run is missing of which nothing else is known
_EQUAL = ("data", "problems", "digest", "rewards")  # what makes evaluations comparable problem by problem


@dataclass(frozen=True)
class Results:
    """
    What the finished runs of a sweep say.

    Args:
        settings (`Settings`):
            The settings of the sweep.
        evaluation (`Evaluation`, *optional*):
            The evaluation of the first finished run; `None` if no run is finished.
        estimates (`dict[int, Estimate]`):
            pass@k by the number of the point, without points that have no finished run.
        seeds (`dict[int, list[int]]`):
            The seeds of the finished runs, by the number of the point.
        missing (`list[Run]`):
            The runs that are not finished.
    """

    settings: Settings
    evaluation: Evaluation | None
    estimates: dict[int, Estimate]
    seeds: dict[int, list[int]]
    missing: list[Run]

    @property
    def points(self) -> list[Point]:
        """The points of the grid, whose numbers are their places here."""
        return points_of(self.settings.grid)

    @property
    def best(self) -> dict[int, Best]:
        """The best point for each k, without any if no run is finished."""
        return {k: best_of(self.estimates, place) for place, k in enumerate(self.settings.k) if self.estimates}


def read_results(settings: Settings, folder: Path) -> Results:
    """
    Read the evaluations of a sweep's finished runs.

    Raises:
        ValueError: if one cannot be read, or does not have the problems and the completions of the others.
    """
    counts: dict[int, list[list[int]]] = {}
    seeds: dict[int, list[int]] = {}
    missing: list[Run] = []
    first: Evaluation | None = None
    for run in settings.runs(folder):
        if not is_finished(run):
            missing.append(run)
            continue
        found = evaluation_of(run)
        first = first or found
        if any(getattr(found, name) != getattr(first, name) for name in _EQUAL) or found.n != settings.n:
            raise ValueError(
                f"{run.folder / EVALUATION} has {found.n} completions of {found.problems} problems of {found.data}, "
                f"but the sweep evaluates {settings.n} of {first.problems} of {first.data}, with equal prompts and "
                "rewards: remove that folder, and start again"
            )
        number = run.index // settings.seeds
        counts.setdefault(number, []).append(found.correct)
        seeds.setdefault(number, []).append(run.seed)
    estimates = {number: estimate(each, settings.n, settings.k, number) for number, each in counts.items()}
    return Results(settings, first, estimates, seeds, missing)


def as_json(results: Results, reasons: Mapping[int, str]) -> dict[str, Any]:
    """Return the content of `sweep_results.json`. `reasons` says why runs are missing, by their index."""
    settings, points = results.settings, results.points
    return {
        "grid": {key: [_typed(value) for value in values] for key, values in settings.grid.items()},
        "seeds": settings.seeds,
        "evaluation": {
            **{name: getattr(results.evaluation, name, None) for name in ("data", "rewards", "problems")},
            "n": settings.n,
            "k": settings.k,
        },
        "interval": {
            "level": LEVEL,
            "resamples": RESAMPLES,
            "over": "problems and seeds" if settings.seeds > 1 else "problems",
        },
        "points": [
            {
                "values": _values(points[number]),
                "seeds": results.seeds[number],
                "pass@k": {str(k): asdict(each.interval(place)) for place, k in enumerate(settings.k)},
                "per seed": {
                    str(seed): {str(k): float(value) for k, value in zip(settings.k, row, strict=True)}
                    for seed, row in zip(results.seeds[number], each.values, strict=True)
                },
            }
            for number, each in results.estimates.items()
        ],
        "best": {
            str(k): {
                "values": _values(points[best.point]),
                "pass@k": asdict(results.estimates[best.point].interval(settings.k.index(k))),
                "second": None if best.second is None else _values(points[best.second]),
                "difference": None if best.difference is None else asdict(best.difference),
                "differs": best.is_alone,
                "ties": [_values(points[number]) for number in best.ties],
            }
            for k, best in results.best.items()
        },
        "missing": [
            {"index": run.index, "values": _values(run.point), "seed": run.seed, "reason": reasons[run.index]}
            for run in results.missing
        ],
    }


def as_report(results: Results, reasons: Mapping[int, str]) -> str:
    """Return the table of all points, the best point for each k, and the missing runs, as text."""
    settings, points = results.settings, results.points
    header = [*points[0].named, "seeds", *(f"pass@{k}" for k in settings.k)]
    rows = [[*point.named.values(), *_cells(results, number)] for number, point in enumerate(points)]
    lines = [as_table(header, rows), f"(mean over seeds; {LEVEL:.0%} intervals over problems and seeds)"]
    if settings.seeds == 1:
        lines[-1] = f"(one seed; {LEVEL:.0%} intervals over problems, which say nothing about other seeds)"
    elif any(len(seeds) == 1 for seeds in results.seeds.values()):
        lines.append("(where one seed is finished, the intervals say nothing about other seeds)")
    lines += [""] + [wrapped(_sentence(results, k, best)) for k, best in results.best.items()]
    told = [run for run in results.missing if reasons[run.index] != NOT_FINISHED]
    lines += [f"missing: run {run.index} ({run}): {reasons[run.index]}" for run in told]
    if waiting := [str(run.index) for run in results.missing if reasons[run.index] == NOT_FINISHED]:
        lines.append(f"missing: run {', '.join(waiting)}: {NOT_FINISHED}")
    return "\n".join(lines).rstrip()


def _cells(results: Results, number: int) -> Sequence[str]:
    settings = results.settings
    if number not in results.estimates:
        return [f"0 of {settings.seeds}", *("missing" for _ in settings.k)]
    own = results.estimates[number]
    found = len(results.seeds[number])
    cells = [_shown(own.interval(place)) for place in range(len(settings.k))]
    return [str(found) if found == settings.seeds else f"{found} of {settings.seeds}", *cells]


def _sentence(results: Results, k: int, best: Best) -> str:
    """Return the sentence on the best point for a k."""
    points = results.points
    own = _shown(results.estimates[best.point].interval(results.settings.k.index(k)))
    head = f"pass@{k}: best at {points[best.point]}: {own}"
    if best.second is None or best.difference is None:
        return f"{head}; there is no other point to compare"
    difference = f"the difference to {points[best.second]} is {_shown(best.difference)}"
    if best.is_alone:
        return f"{head}; {difference}, which excludes 0"
    more = len(best.ties) - 1
    others = f"; {more} more {'points are' if more > 1 else 'point is'} tied with it" if more else ""
    return f"{head}; a tie: {difference}, which does not exclude 0{others}"


def _shown(interval: Interval) -> str:
    return f"{interval.value:.3f} [{interval.low:.3f}, {interval.high:.3f}]"


def _values(point: Point) -> dict[str, Any]:
    return {key: _typed(value) for key, value in point.values.items()}


def _typed(text: str) -> Any:
    return read_yaml_text("a value of the grid", text)
