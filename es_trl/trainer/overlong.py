"""The soft overlong punishment: TRL's reward function, appended to those of the user."""

import copy
from typing import Any

from trl.rewards import get_soft_overlong_punishment

from ..config.config import ESGRPOConfig


NAME = get_soft_overlong_punishment(1, 0).__name__


def add_punishment(
    reward_funcs: Any, args: ESGRPOConfig, classes: Any, length: int | None, caches: list[int]
) -> tuple[Any, ESGRPOConfig, Any]:
    """
    Append the punishment to the reward functions if a stage of the run has an overlong cache.

    Its weight is 1, unless the user gave one weight more than functions.

    Args:
        reward_funcs, classes:
            `reward_funcs` and `reward_processing_classes` of the trainer.
        args (`ESGRPOConfig`):
            The configuration; it is copied where its weights change.
        length (`int` or `None`):
            Longest completion of the first stage, tokens.
        caches (`list[int]`):
            Overlong cache of each stage, tokens; 0 for no punishment.

    Returns:
        Reward functions, configuration and processing classes of the run.

    Raises:
        ValueError: if the user's reward functions already have a soft overlong punishment.
    """
    if not any(caches):
        return reward_funcs, args, classes
    functions = reward_funcs if isinstance(reward_funcs, list) else [] if reward_funcs is None else [reward_funcs]
    if any(getattr(function, "__name__", None) == NAME for function in functions):
        raise ValueError(
            "`overlong_cache` must be 0 when the reward functions have a soft overlong punishment, which would act "
            "twice: keep only one of them"
        )
    if args.reward_weights is not None and len(args.reward_weights) == len(functions):
        args = copy.copy(args)
        args.reward_weights = [*args.reward_weights, 1.0]
    if isinstance(classes, list) and len(classes) == len(functions):
        classes = [*classes, None]
    return [*functions, get_soft_overlong_punishment(length, caches[0])], args, classes
