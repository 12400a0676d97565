"""pass@k of each point of a sweep, with intervals over problems and seeds, and the best point for each k.

A resample draws problems, the same ones for all points, so that points are compared on equal problems. It also draws
the seeds of each point. A bootstrap over S seeds shows a variance that is too small by the factor (S - 1) / S, so the
deviations of the drawn seeds are widened by the root of its inverse.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..estimates.intervals import LEVEL, RESAMPLES, Interval, resampled_means
from ..estimates.pass_at_k import table_of


_ENDS = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)


@dataclass(frozen=True)
class Estimate:
    """
    pass@k of one point.

    Args:
        values (`np.ndarray` of shape `(seeds, ks)`):
            Means over problems, per seed.
        resampled (`np.ndarray` of shape `(RESAMPLES, ks)`):
            Means over resampled problems and seeds.
    """

    values: np.ndarray
    resampled: np.ndarray

    @property
    def means(self) -> np.ndarray:
        """The means over problems and seeds, one per k."""
        return self.values.mean(axis=0)

    def interval(self, place: int) -> Interval:
        """Return mean and interval for the k at `place`."""
        low, high = np.clip(np.quantile(self.resampled[:, place], _ENDS), 0.0, 1.0)
        return Interval(float(self.means[place]), float(low), float(high))


@dataclass(frozen=True)
class Best:
    """
    The best point for one k.

    Args:
        point (`int`):
            Its number among the points.
        second (`int`, *optional*):
            The number of the second best point; `None` if there is one point.
        difference (`Interval`, *optional*):
            pass@k of the best minus that of the second best point, paired over problems.
        ties (`list[int]`):
            The points whose difference to the best has an interval that does not exclude 0, from the best on.
    """

    point: int
    second: int | None
    difference: Interval | None
    ties: list[int]

    @property
    def is_alone(self) -> bool:
        """Whether the best point differs from the second best by more than the interval of their difference."""
        return self.second is not None and self.second not in self.ties


def estimate(correct: Sequence[Sequence[int]], samples: int, ks: Sequence[int], number: int) -> Estimate:
    """
    Return pass@k of one point.

    Args:
        correct (sequence of sequences of `int`):
            Number of right completions of each problem, per seed. All points must have the same problems.
        samples (`int`):
            Completions per problem.
        ks (sequence of `int`):
            Values of k, each from 1 to `samples`.
        number (`int`):
            Number of the point, from 0. It seeds the draws of the point's seeds.
    """
    tables = np.stack([table_of(each, samples, ks) for each in correct])
    seeds, problems, columns = tables.shape
    by_seed = resampled_means(tables.transpose(1, 0, 2).reshape(problems, -1)).reshape(RESAMPLES, seeds, columns)
    return Estimate(tables.mean(axis=1), np.einsum("rs,rsk->rk", _seed_weights(seeds, number), by_seed))


def best_of(estimates: Mapping[int, Estimate], place: int) -> Best:
    """Return the best point for the k at `place`; of equal ones the first. `estimates` has the points by number."""
    ranked = sorted(estimates, key=lambda number: (-estimates[number].means[place], number))
    first, others = ranked[0], ranked[1:]
    intervals = {number: _difference(estimates[first], estimates[number], place) for number in others}
    return Best(
        first,
        others[0] if others else None,
        intervals[others[0]] if others else None,
        [number for number in others if intervals[number].low <= 0.0],
    )


def _difference(one: Estimate, other: Estimate, place: int) -> Interval:
    low, high = np.quantile(one.resampled[:, place] - other.resampled[:, place], _ENDS)
    return Interval(float(one.means[place] - other.means[place]), float(low), float(high))


def _seed_weights(seeds: int, number: int) -> np.ndarray:
    """Return the weights of the seeds in each resample, `(RESAMPLES, seeds)`; each row sums to 1."""
    if seeds == 1:
        return np.ones((RESAMPLES, 1))
    draws = np.random.default_rng([1, number]).multinomial(seeds, np.full(seeds, 1 / seeds), RESAMPLES) / seeds
    return 1 / seeds + np.sqrt(seeds / (seeds - 1)) * (draws - 1 / seeds)
