"""Rewards of completions."""

import asyncio
import inspect
import math
from collections.abc import Sequence
from typing import Any

from transformers import TrainerState

from ..common.shown import shown_with_type
from .problems import Problems, Reward
from .sampling import Completion


def judge(
    problems: Problems, rewards: Sequence[Reward], rows: Sequence[int], completions: Sequence[Completion]
) -> list[float | None]:
    """
    Return the reward of each completion: the least one that a function gives it, so that it is right if it is above 0.

    The functions are called as TRL calls them. As there, a reward of `None` or NaN does not count.

    Args:
        problems (`Problems`), rewards (sequence of reward functions):
            As [`load_problems`] returns them.
        rows (sequence of `int`), completions (sequence of `Completion`):
            The problem of each completion, and the completions.

    Returns:
        `list[float | None]`: one per completion; `None` where no function gives a reward.

    Raises:
        ValueError: if a function returns another number of rewards.
    """
    prompts = [problems.prompts[row] for row in rows]
    is_text = not prompts or isinstance(prompts[0], str)
    texts: list[Any] = [each.text if is_text else [{"role": "assistant", "content": each.text}] for each in completions]
    columns = {name: [values[row] for row in rows] for name, values in problems.columns.items()}
    columns |= {"trainer_state": TrainerState(), "log_extra": _ignore, "log_metric": _ignore}
    given = []
    for function in rewards:
        values = function(prompts=prompts, completions=texts, completion_ids=[c.ids for c in completions], **columns)
        if inspect.iscoroutine(values):
            values = asyncio.run(values)
        given.append(_numbers(function, values, len(rows)))
    return [min((value for value in each if value is not None), default=None) for each in zip(*given, strict=True)]


def _numbers(function: Reward, values: Any, number: int) -> list[float | None]:
    """Return rewards as numbers, with `None` for NaN, or raise with the name of the function."""
    must = f"the reward {function.__name__!r} must return a list of {number} numbers, one per completion, got"
    try:
        found = [None if value is None or math.isnan(value) else float(value) for value in values]
    except (TypeError, ValueError) as error:
        raise ValueError(f"{must} {shown_with_type(values)}: correct it") from error
    if len(found) != number:
        raise ValueError(f"{must} {len(found)}: correct it")
    return found


def _ignore(*args: Any) -> None:
    """Take what a reward logs beside its rewards, which an evaluation does not keep."""
