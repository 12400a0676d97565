"""The points of a grid, and the runs of a sweep in their order."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path


OWN_KEYS = ("seed", "output_dir", "resume_from_checkpoint", "config")  # what the sweep sets for each run
_EXAMPLE = "for example --grid entropy_schedule.target=0.2,0.4"
_LONGEST = 60  # characters of a value in the name of a folder

Grid = dict[str, list[str]]


@dataclass(frozen=True)
class Point:
    """
    One value for each key of the grid.

    Args:
        values (`Mapping[str, str]`):
            The text of each value, as behind an option, by the recipe's key.
    """

    values: Mapping[str, str]

    @property
    def options(self) -> list[str]:
        """The options of the command line that set these values."""
        return [f"--{key}={value}" for key, value in self.values.items()]

    @property
    def folder(self) -> str:
        """The name of the point's folder, which no other point has."""
        return ",".join(f"{name}={_file_name(value)}" for name, value in self.named.items())

    @property
    def named(self) -> dict[str, str]:
        """The values by short names: the last part of each key if that is unique."""
        short = [key.rpartition(".")[2] for key in self.values]
        names = short if len(set(short)) == len(short) else list(self.values)
        return dict(zip(names, self.values.values(), strict=True))

    def __str__(self) -> str:
        return ", ".join(f"{name} {value}" for name, value in self.named.items())


@dataclass(frozen=True)
class Run:
    """
    One run of a sweep.

    Args:
        index (`int`):
            Its number in the order of the sweep, from 0.
        point (`Point`):
            Its values.
        seed (`int`):
            Its seed.
        folder (`Path`):
            Its `output_dir`.
    """

    index: int
    point: Point
    seed: int
    folder: Path

    def __str__(self) -> str:
        return f"{self.point}, seed {self.seed}"


def read_grid(texts: Sequence[str]) -> Grid:
    """
    Return the grid that options like `entropy_schedule.target=0.2,0.3` describe.

    A comma separates two values unless it stands within brackets or quotes.

    Raises:
        ValueError: for a grid without keys, and for a key without values, with an equal value, or given twice.
    """
    grid: Grid = {}
    for text in texts:
        key, has_values, listed = text.partition("=")
        key = key.strip().removeprefix("--").replace("-", "_")
        values = [value.strip() for value in _split(listed)]
        if not key or not has_values or "" in values:
            raise ValueError(f"--grid must be a key and its values, got {text!r}: write {_EXAMPLE}")
        if key in grid:
            raise ValueError(f"--grid names `{key}` twice: write all its values behind one --grid")
        if key in OWN_KEYS:
            advice = "set --seeds to the number of seeds" if key == "seed" else "leave it out"
            raise ValueError(f"--grid must not name `{key}`, which the sweep sets for each run: {advice}")
        if doubled := [value for place, value in enumerate(values) if value in values[:place]]:
            raise ValueError(f"--grid has {doubled[0]} twice for `{key}`: write each value once")
        grid[key] = values
    if not grid:
        raise ValueError(f"--grid must name at least one key: write {_EXAMPLE}")
    return grid


def check_given(grid: Grid, options: Sequence[str]) -> None:
    """Raise unless the options beside the grid leave the sweep its own keys and the grid its keys."""
    names = [word[2:].partition("=")[0] for word in options if word.startswith("--")]
    for name in (name.replace("-", "_") for name in names):
        if name in OWN_KEYS:
            advice = "set --seeds to the number of seeds" if name == "seed" else "leave it out"
            raise ValueError(f"--{name} must not be given, because the sweep sets it for each run: {advice}")
        if name in grid or name.partition(".")[0] in grid:
            raise ValueError(f"`{name}` is given, but --grid sets it, too: leave one of them out")


def points_of(grid: Grid) -> list[Point]:
    """Return the points of a grid; the values of the last key change fastest."""
    return [Point(dict(zip(grid, values, strict=True))) for values in product(*grid.values())]


def runs_of(grid: Grid, seeds: int, folder: Path) -> list[Run]:
    """Return the runs of a sweep in `folder`, in their fixed order: all seeds of a point stand together."""
    pairs = product(points_of(grid), range(seeds))
    return [
        Run(index, point, seed, folder / point.folder / f"seed-{seed}") for index, (point, seed) in enumerate(pairs)
    ]


def _split(text: str) -> list[str]:
    """Return the parts between the commas that stand neither within brackets nor within quotes."""
    parts, depth, quote = [""], 0, ""
    for sign in text:
        if quote:
            quote = "" if sign == quote else quote
        elif sign in "'\"":
            quote = sign
        elif sign in "[{(":
            depth += 1
        elif sign in "]})":
            depth -= 1
        if sign == "," and depth == 0 and not quote:
            parts.append("")
        else:
            parts[-1] += sign
    return parts


def _file_name(value: str) -> str:
    """Return a value as part of a file name; one that had to be changed ends with a digest that keeps it unique."""
    clean = re.sub(r"[^\w.+-]+", "-", value)[:_LONGEST]
    return clean if clean == value else f"{clean}-{hashlib.sha256(value.encode()).hexdigest()[:6]}"
