"""The stages of a curriculum, as a user writes them.

Source: "Entropy Scheduling in Reinforcement Learning for Large Language Models", section 5: where annealing begins,
switch to high-quality data, from 8 to 32 completions per prompt, and from 4k to 16k tokens.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ..control.values import check_choice, check_count, check_number, is_number


BASE_DATA = "train"  # the name of the one data set of a trainer that got no names


@dataclass(frozen=True)
class Stage:
    """
    A point of the run at which something changes. What is not given stays as in the stage before.

    Args:
        start (`float` or `"onset"`):
            Progress from 0 (the first rollout) to 1 (the last one), or the onset of the entropy schedule. A stage that
            starts at 0 takes the place of the configuration's own values.
        data (`str` or `dict[str, float]`, *optional*):
            Name of the data set that prompts come from, or several names with their weights.
        num_generations (`int`, *optional*):
            Completions per prompt, at least 2 (the paper: 8, then 32).
        max_completion_length (`int`, *optional*):
            Tokens that a completion may have (the paper: 4096, then 16384).
        overlong_cache (`int`, *optional*):
            Tokens before that length over which the soft overlong punishment grows.
        hold (`"completions"` or `"prompts"`):
            What stays where `num_generations` changes: the completions per rollout, so that it has fewer prompts, or
            its prompts, so that it has more completions. Then the updates per rollout stay as many, and each has more
            micro-batches of the same size (verl's meaning).
    """

    start: float | Literal["onset"]
    data: str | dict[str, float] | None = None
    num_generations: int | None = None
    max_completion_length: int | None = None
    overlong_cache: int | None = None
    hold: Literal["completions", "prompts"] = "completions"

    def __post_init__(self) -> None:
        if self.start != "onset" and not (is_number(self.start) and 0.0 <= self.start <= 1.0):
            raise ValueError(f"`start` must be onset or a number from 0 to 1, got {self.start!r}: set one of them")
        for name, least in (("num_generations", 2), ("max_completion_length", 1), ("overlong_cache", 0)):
            if getattr(self, name) is not None:
                check_count(name, getattr(self, name), least)
                object.__setattr__(self, name, int(getattr(self, name)))
        check_choice("hold", self.hold, ("completions", "prompts"))
        if self.data is not None:
            object.__setattr__(self, "data", _shares(self.data))


def as_stages(stages: Any) -> list[Stage]:
    """Return the stages of a curriculum as a list, or raise for what are no stages."""
    listed = list(stages) if isinstance(stages, Sequence) and not isinstance(stages, str) else [stages]
    for stage in listed:
        if not isinstance(stage, Stage):
            raise ValueError(f"a curriculum must be a list of Stage, got {stage!r}: give Stage(start=...) objects")
    return listed


def check_cache(cache: int, longest: int | None, name: str) -> None:
    """Raise where an overlong cache leaves no length of a completion unpunished; `name` is for the message."""
    if longest is None and cache > 0:
        raise ValueError(f"{name} is {cache} and the longest completion is not known: set max_completion_length")
    if longest is not None and cache > longest:
        raise ValueError(
            f"{name} must be at most the {longest} tokens of a completion, got {cache}: set for example {longest // 4}"
        )


def _shares(data: Any) -> dict[str, float]:
    weights = {data: 1.0} if isinstance(data, str) else data
    if not isinstance(weights, dict) or not weights:
        raise ValueError(
            f"`data` must be the name of a data set or names with weights, got {data!r}: set {{easy: 1, hard: 3}}"
        )
    for name, weight in weights.items():
        check_number(f"data.{name}", weight, "1", above=0.0)
    total = math.fsum(weights.values())
    return {name: weight / total for name, weight in weights.items()}
