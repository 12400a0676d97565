"""The soft overlong punishment of a run: TRL's reward function, appended to the user's."""

import copy
from typing import Any

from trl.rewards import get_soft_overlong_punishment

from ..config.config import ESGRPOConfig


NAME = get_soft_overlong_punishment(1, 0).__name__


def add_punishment(
    reward_funcs: Any, args: ESGRPOConfig, classes: Any, length: int | None, caches: list[int]
) -> tuple[Any, ESGRPOConfig, Any]:
    """
    Append the punishment to a trainer's reward functions where a stage of the run has one.

    Returns functions, configuration and `reward_processing_classes` with one more of each; its weight is 1 unless the
    user gave one more than functions. `length` is the longest completion of the first stage, `caches` are of all.
    """
    if not any(caches):
        return reward_funcs, args, classes
    functions = reward_funcs if isinstance(reward_funcs, list) else [] if reward_funcs is None else [reward_funcs]
    if any(getattr(function, "__name__", None) == NAME for function in functions):
        raise ValueError(
            "`overlong_cache` must be 0 with a soft overlong punishment among the reward functions, or completions "
            "would be punished twice: keep one of them"
        )
    if args.reward_weights is not None and len(args.reward_weights) == len(functions):
        args = copy.copy(args)
        args.reward_weights = [*args.reward_weights, 1.0]
    if isinstance(classes, list) and len(classes) == len(functions):
        classes = [*classes, None]
    return [*functions, get_soft_overlong_punishment(length, caches[0])], args, classes
