"""Means over problems with bootstrap intervals: how far another draw of problems could move them."""

from dataclasses import dataclass

import numpy as np


LEVEL = 0.95  # share of resamples that an interval contains
RESAMPLES = 10_000
_AT_ONCE = 500  # resamples in memory at one time


@dataclass(frozen=True)
class Interval:
    """
    A mean over problems and its percentile bootstrap interval.

    Args:
        value (`float`):
            The mean.
        low, high (`float`):
            Ends of the interval, which contains [`LEVEL`] of the resampled means.
    """

    value: float
    low: float
    high: float


def resampled_means(values: np.ndarray, seed: int = 0) -> np.ndarray:
    """
    Return the means over resampled problems, each resample drawn with replacement.

    Args:
        values (`np.ndarray` of shape `(problems, columns)`):
            One row per problem. The columns of a resample have the same problems, so that they can be compared.
        seed (`int`, *optional*, defaults to `0`):
            Seed of the draws. With the same seed and number of problems, the same problems are drawn.

    Returns:
        `np.ndarray` of shape `(RESAMPLES, columns)`: the means.
    """
    problems, draws = len(values), np.random.default_rng(seed)
    weights = (
        draws.multinomial(problems, np.full(problems, 1 / problems), _AT_ONCE) for _ in range(0, RESAMPLES, _AT_ONCE)
    )
    return np.concatenate([each @ values / problems for each in weights])


def intervals_of(values: np.ndarray, seed: int = 0) -> list[Interval]:
    """Return mean and interval of each column of `values`, `(problems, columns)`; see [`resampled_means`]."""
    low, high = np.quantile(resampled_means(values, seed), [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return [Interval(*map(float, each)) for each in zip(values.mean(axis=0), low, high, strict=True)]
