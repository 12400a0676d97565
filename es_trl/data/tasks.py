"""The task of a recipe: its reward functions, and the datasets with the columns that they read."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from datasets import Dataset

from ..rewards.named import load_reward
from .arguments import DataArguments
from .prompts import load_problems, load_rows


LAB = "countdown"


@dataclass(frozen=True)
class Task:
    """
    What a recipe trains on.

    Args:
        names (`list[str]`):
            The rewards as [`~rewards.named.RewardArguments`] takes them, at least one.
        seed (`int`):
            Seed of prompts that are generated.
    """

    names: list[str]
    seed: int

    def __post_init__(self) -> None:
        if {"math", LAB} <= set(self.names):
            raise ValueError("`reward` names math and countdown, which read different columns: name one of them")

    def rewards(self) -> list[Callable[..., list[float]]]:
        """Return the reward functions in the order of their names; raises as [`~rewards.named.load_reward`]."""
        return [load_reward(name) for name in self.names]

    def load(self, args: DataArguments) -> Dataset:
        """
        Return a dataset with the columns that the rewards read.

        A function of one's own gets every column. `math` reads `solution`, which holds the answers of `answer_column`.
        `countdown` reads `numbers` and `target`.

        Raises:
            ValueError: for a dataset that is missing, or a row that a reward cannot judge.
        """
        if LAB in self.names:
            return self._lab("prompts").load_countdown(args, self.seed)
        if self.names == ["math"]:
            return load_problems(args)
        rows = load_rows(args)
        if "math" in self.names:
            columns = [name for name in rows.column_names if name != "solution"]
            rows = rows.select_columns(columns).add_column("solution", load_problems(args)["solution"][:])
        return rows

    @property
    def default_model(self) -> str | None:
        """The model where the recipe names none: the lab's base model for `countdown`."""
        return self._lab().BASE_MODEL if LAB in self.names else None

    @staticmethod
    def _lab(module: str = "") -> Any:
        """Return a module of the lab, which is an example and which nothing imports unless a recipe names it."""
        return importlib.import_module(f"es_trl.lab.{module}".rstrip("."))
