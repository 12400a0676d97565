"""The task of a recipe: its reward functions, and the datasets with the columns that they read."""

import importlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from datasets import Dataset

from ..common.nearest import nearest
from ..config.config import ESGRPOConfig
from ..curriculum.stages import BASE_DATA
from ..rewards.named import load_reward
from .arguments import EVAL_DATA, EVAL_KEYS, DataArguments
from .prompts import load_problems, load_rows, open_rows
from .reading import is_local


LAB = "countdown"
EVALUATION_SEED = 1_000_000  # of generated prompts; far from the seeds of runs, which draw theirs with them
# arguments of a reward that TRL fills itself, so no column can have these names
_GIVEN = ("prompts", "completions", "completion_ids", "trainer_state", "log_extra", "log_metric")


def check_rewards_fit(rewards: list[Callable[..., list[float]]], columns: list[str]) -> None:
    """
    Raise unless TRL can call the reward functions with the columns of a dataset.

    Raises:
        ValueError: for a function without `**columns`, one that needs a column which the dataset lacks, or a dataset
            with a column whose name TRL uses itself.
    """
    if taken := sorted({*_GIVEN, "completion"} & set(columns)):
        raise ValueError(f"the dataset has a column {taken[0]!r}, a name that TRL uses for rewards: rename the column")
    for function in rewards:
        try:
            parameters = inspect.signature(function).parameters.values()
        except (TypeError, ValueError):  # a function in C, which has no signature
            continue
        takes = {each.name for each in parameters if each.kind in (each.KEYWORD_ONLY, each.POSITIONAL_OR_KEYWORD)}
        needed = {each.name for each in parameters if each.name in takes and each.default is each.empty}
        if lacking := sorted(needed - {*_GIVEN, *columns}):
            known = ", ".join(columns)
            raise ValueError(
                f"the reward {function.__name__!r} needs a column {lacking[0]!r}, which the dataset lacks"
                f"{nearest(lacking[0], columns)}: name one of {known}"
            )
        if not any(each.kind is each.VAR_KEYWORD for each in parameters):
            raise ValueError(
                f"the reward {function.__name__!r} must take every column by name: add **columns to its arguments"
            )


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
        """
        Return the reward functions in the order of their names.

        Raises:
            ValueError: as [`~rewards.named.load_reward`], or if two functions have the same name.
        """
        functions = [load_reward(name) for name in self.names]
        names = [function.__name__ for function in functions]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"`reward` names two functions {name!r}, and logs tell them by name: rename one")
        return functions

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
        rows = open_rows(args)
        dataset = load_rows(args, rows=rows)
        if "math" in self.names:
            others = [name for name in dataset.column_names if name != "solution"]
            dataset = dataset.select_columns(others).add_column("solution", load_problems(args, rows)["solution"][:])
        return dataset

    def load_evaluation(self, args: DataArguments) -> Dataset:
        """Return a dataset of evaluations as [`Task.load`]; generated prompts are fewer, with a seed of their own."""
        return self._lab("prompts").load_evaluation_prompts(args) if LAB in self.names else self.load(args)

    def evaluated(self, args: DataArguments, training: ESGRPOConfig) -> dict[str, DataArguments]:
        """
        Return the arguments of every evaluation dataset of a recipe by name; none if it does not evaluate.

        Raises:
            ValueError: if the recipe evaluates without data, or names data and does not evaluate.
        """
        strategy, found = getattr(training.eval_strategy, "value", training.eval_strategy), args.evaluated()
        if strategy == "no" and not training.eval_on_start:
            own = [f"eval_{name}" for name in (*EVAL_KEYS, "datasets") if getattr(args, f"eval_{name}") is not None]
            if own or training.eval_pass_at_k is not None:
                key = own[0] if own else "eval_pass_at_k"
                raise ValueError(
                    f"`{key}` is set but `eval_strategy` is no, so the recipe never evaluates: set eval_strategy: "
                    f"steps and eval_steps, or leave {key} out"
                )
            return {}
        if not found and not (LAB in self.names and self._lab("prompts").is_generated(args)):
            raise ValueError(
                f"`eval_strategy` is {strategy} but the recipe names no data of evaluations: set eval_dataset_name, "
                "eval_dataset_split or eval_datasets, or eval_strategy: no"
            )
        return found or {EVAL_DATA: args.named()[BASE_DATA]}

    def reads_hub(self, args: DataArguments) -> bool:
        """Return whether [`Task.load`] takes these prompts from the Hub, or generates them."""
        return not is_local(args.dataset_name) if args.dataset_name else LAB in self.names

    @property
    def default_model(self) -> str | None:
        """The model where the recipe names none: the lab's base model for `countdown`."""
        return self._lab().BASE_MODEL if LAB in self.names else None

    @staticmethod
    def _lab(module: str = "") -> Any:
        """Return a module of the lab, which is an example and which nothing imports unless a recipe names it."""
        return importlib.import_module(f"es_trl.lab.{module}".rstrip("."))
