"""Means over problems or seeds with bootstrap intervals: how far another draw of them could move the means."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


LEVEL = 0.95  # share of resamples that an interval contains
RESAMPLES = 10_000
_AT_ONCE = 500  # resamples in memory at one time


@dataclass(frozen=True)
class Interval:
    """
    A mean and its percentile bootstrap interval.

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


def seed_weights(seeds: int, seed: Sequence[int]) -> np.ndarray:
    """
    Return the weights of few seeds in each resample.

    A bootstrap over S seeds shows a variance that is too small by the factor (S - 1) / S, so the deviations of the
    drawn weights are widened by the root of its inverse.

    Args:
        seeds (`int`):
            Number of seeds, at least 1. The weights of a single one are all 1.
        seed (sequence of `int`):
            Seed of the draws.

    Returns:
        `np.ndarray` of shape `(RESAMPLES, seeds)`: the weights. Each row sums to 1.
    """
    if seeds == 1:
        return np.ones((RESAMPLES, 1))
    draws = np.random.default_rng(seed).multinomial(seeds, np.full(seeds, 1 / seeds), RESAMPLES) / seeds
    return 1 / seeds + np.sqrt(seeds / (seeds - 1)) * (draws - 1 / seeds)


def interval_over_seeds(values: Sequence[float]) -> Interval:
    """Return mean and interval of one value per seed, at least two; see [`seed_weights`]."""
    means = seed_weights(len(values), (0,)) @ np.asarray(values, dtype=float)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(np.mean(values)), float(low), float(high))
