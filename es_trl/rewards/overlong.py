"""Soft overlong punishment: a completion that comes near the longest one allowed loses reward.

Source: "DAPO: An Open-Source LLM Reinforcement Learning System at Scale" (arXiv 2503.14476), section 3.4, Eq. 13.
"""

import copy
from collections.abc import Collection
from typing import Any

from ..curriculum.stages import check_cache


class SoftOverlongPunishment:
    """
    0 for a completion that keeps out of the last `cache` tokens, down to -1 for one that uses them all.

    TRL's `get_soft_overlong_punishment` has the same values for one length; [`ESGRPOTrainer`] tells this one the length
    of each stage.

    Args:
        cache (`int`):
            Tokens before the longest completion over which the punishment grows; 0 punishes nothing.
        max_completion_length (`int`, *optional*):
            Tokens a completion may have; the trainer sets it.
    """

    __name__ = "soft_overlong_punishment"

    def __init__(self, cache: int, max_completion_length: int | None = None):
        if isinstance(cache, bool) or not isinstance(cache, int) or cache < 0:
            raise ValueError(f"`cache` is {cache!r}, and it counts tokens: set a whole number of at least 0")
        self.cache = cache
        self.max_completion_length = max_completion_length

    def __call__(self, completion_ids: list[list[int]], **kwargs: object) -> list[float]:
        """
        The punishments.

        Args:
            completion_ids (`list[list[int]]`):
                Tokens of every completion.

        Returns:
            `list[float]`: from -1 to 0, one a completion.
        """
        if self.max_completion_length is None:
            raise ValueError(
                "SoftOverlongPunishment does not know the longest completion: give it to ESGRPOTrainer, or set its "
                "max_completion_length"
            )
        if self.cache == 0:
            return [0.0] * len(completion_ids)
        free = self.max_completion_length - self.cache
        return [min(max((free - len(ids)) / self.cache, -1.0), 0.0) for ids in completion_ids]


def add_punishment(
    reward_funcs: Any, args: Any, kwargs: dict[str, Any], sizes: Collection[tuple[int, int]]
) -> tuple[Any, Any, SoftOverlongPunishment | None]:
    """
    Append the punishment to a trainer's reward functions where the run has one.

    Args:
        reward_funcs (reward function, list of them, or `None`), args (`GRPOConfig`), kwargs (`dict`):
            What the trainer was given; `reward_processing_classes` in `kwargs` gets an entry more.
        sizes (collection of `(int, int)`):
            Longest completion and cache of every stage.

    Returns:
        Reward functions, configuration (with one weight more where the user gave theirs), and the punishment or `None`.

    Raises:
        ValueError: where the user gave a punishment of their own, too, or one that punishes every completion.
    """
    functions = reward_funcs if isinstance(reward_funcs, list) else [] if reward_funcs is None else [reward_funcs]
    given = [function for function in functions if isinstance(function, SoftOverlongPunishment)]
    if given and any(cache > 0 for _, cache in sizes):
        raise ValueError(
            "overlong_cache is set and a SoftOverlongPunishment is among the reward functions, so that completions "
            "would be punished twice: keep one of them"
        )
    shortest = min(longest for longest, _ in sizes)
    for function in given:
        check_cache(function.cache, shortest, "SoftOverlongPunishment's cache")
    if not any(cache > 0 for _, cache in sizes):
        return reward_funcs, args, None
    if args.reward_weights is not None and len(args.reward_weights) == len(functions):
        args = copy.copy(args)
        args.reward_weights = [*args.reward_weights, 1.0]
    classes = kwargs.get("reward_processing_classes")
    if isinstance(classes, list) and len(classes) == len(functions):
        kwargs["reward_processing_classes"] = [*classes, None]
    punishment = SoftOverlongPunishment(next(iter(sizes))[1])
    return [*functions, punishment], args, punishment
