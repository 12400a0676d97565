"""The stages of a curriculum, as a user writes them.

Source: "Entropy Scheduling in Reinforcement Learning for Large Language Models", section 5. At the onset of annealing,
the paper switches to high-quality data, from 8 to 32 completions per prompt, and from 4k to 16k tokens.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ..control.values import check_choice, check_count, check_number, is_number


BASE_DATA = "train"  # the name of a trainer's only dataset


@dataclass(frozen=True)
class Stage:
    """
    A stage of the curriculum. A value that is not given stays as in the stage before.

    Args:
        start (`float` or `"onset"`):
            Start of the stage: progress from 0 (the first rollout) to 1 (the last one), or the onset of the entropy
            schedule. A stage that starts at 0 replaces the configuration's own values.
        data (`str` or `dict[str, float]`, *optional*):
            Name of a dataset, or weights above 0 of several datasets by name. For example, `{"easy": 1, "hard": 3}`
            takes three quarters of the prompts from `hard`.
        num_generations (`int`, *optional*):
            Completions per prompt, at least 2. The paper uses 8, then 32.
        max_completion_length (`int`, *optional*):
            Largest number of tokens per completion, at least 1. The paper uses 4096, then 16384.
        overlong_cache (`int`, *optional*):
            Number of tokens before `max_completion_length` in which the soft overlong punishment grows, at least 0.
        temperature (`float`, *optional*):
            Temperature of the completions, above 0. The loss and the measured entropy are those of the policy at this
            temperature, so entropy jumps at the switch. An evaluation keeps the configuration's temperature.
        hold (`"completions"` or `"prompts"`, *optional*, defaults to `"completions"`):
            The number per rollout that stays when `num_generations` changes. With `"completions"` the number of prompts
            changes. With `"prompts"` the number of completions changes, as in verl: the updates per rollout stay the
            same, and each update has more micro-batches.

    Raises:
        ValueError: for an argument out of its range.
    """

    start: float | Literal["onset"]
    data: str | dict[str, float] | None = None
    num_generations: int | None = None
    max_completion_length: int | None = None
    overlong_cache: int | None = None
    temperature: float | None = None
    hold: Literal["completions", "prompts"] = "completions"

    def __post_init__(self) -> None:
        if self.start != "onset" and not (is_number(self.start) and 0.0 <= self.start <= 1.0):
            raise ValueError(f"`start` must be onset or a number from 0 to 1, got {self.start!r}: set one of them")
        for name, least in (("num_generations", 2), ("max_completion_length", 1), ("overlong_cache", 0)):
            if getattr(self, name) is not None:
                check_count(name, getattr(self, name), least)
                object.__setattr__(self, name, int(getattr(self, name)))
        if self.temperature is not None:
            check_number("temperature", self.temperature, "for example 1.0", above=0)
            object.__setattr__(self, "temperature", float(self.temperature))
        check_choice("hold", self.hold, ("completions", "prompts"))
        if self.data is not None:
            object.__setattr__(self, "data", _shares(self.data))


def as_stages(stages: Any) -> list[Stage]:
    """Return the stages of a curriculum as a list; raise `ValueError` for other objects."""
    listed = list(stages) if isinstance(stages, Sequence) and not isinstance(stages, str) else [stages]
    for stage in listed:
        if not isinstance(stage, Stage):
            raise ValueError(f"a curriculum must be a list of Stage, got {stage!r}: give Stage(start=...) objects")
    return listed


def check_cache(cache: int, longest: int | None, name: str) -> None:
    """
    Raise `ValueError` if an overlong cache is larger than the longest completion.

    `name` is the subject of the message.
    """
    if longest is None and cache > 0:
        raise ValueError(f"{name} is {cache} but `max_completion_length` is None: set max_completion_length")
    if longest is not None and cache > longest:
        raise ValueError(
            f"{name} must be at most the {longest} tokens of a completion, got {cache}: set for example {longest // 4}"
        )


def check_early(early: int, num_generations: int, of_stage: str = "") -> None:
    """
    Raise `ValueError` unless a prompt may be left after `early` of its completions.

    `of_stage` names the stage in the message.
    """
    if early >= num_generations:
        raise ValueError(
            f"`early_generations` must be less than the {num_generations} completions per prompt{of_stage}, got "
            f"{early}: set for example {max(num_generations // 2, 1)}, or 0"
        )


def _shares(data: Any) -> dict[str, float]:
    weights = {data: 1.0} if isinstance(data, str) else data
    if not isinstance(weights, dict) or not weights:
        raise ValueError(
            f"`data` must be the name of a dataset, or names with weights, got {data!r}: set for example "
            "{easy: 1, hard: 3}"
        )
    for name, weight in weights.items():
        check_number(f"data.{name}", weight, "1", above=0.0)
    total = math.fsum(weights.values())
    return {name: weight / total for name, weight in weights.items()}
