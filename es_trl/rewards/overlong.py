"""Soft overlong punishment: a completion that comes near the longest one allowed loses reward.

Source: "DAPO: An Open-Source LLM Reinforcement Learning System at Scale" (arXiv 2503.14476), section 3.4, Eq. 13.
"""


class SoftOverlongPunishment:
    """
    0 for a completion that keeps out of the last `cache` tokens, down to -1 for one that uses them all.

    TRL's `get_soft_overlong_punishment` has the same values for one length; [`ESGRPOTrainer`] tells this one the length
    of each stage.

    Args:
        cache (`int`):
            Tokens before the longest completion over which the punishment grows, at least 1.
        max_completion_length (`int`, *optional*):
            Tokens a completion may have; the trainer sets it.
    """

    __name__ = "soft_overlong_punishment"

    def __init__(self, cache: int, max_completion_length: int | None = None):
        if isinstance(cache, bool) or not isinstance(cache, int) or cache < 1:
            raise ValueError(f"`cache` is {cache!r}, and it counts tokens: set a whole number of at least 1")
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
        free = self.max_completion_length - self.cache
        return [min(max((free - len(ids)) / self.cache, -1.0), 0.0) for ids in completion_ids]
