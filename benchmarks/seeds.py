"""Student's intervals of means over a few seeds."""

from collections.abc import Sequence
from statistics import mean, stdev

from es_trl.estimates.intervals import Interval


LEVEL = 0.9  # of the intervals, so that 5 % lie beyond either end
# Student's 0.95 quantiles for 2 to 10 seeds; more seeds take the last one, which is a little too wide for them
QUANTILES = (6.314, 2.920, 2.353, 2.132, 2.015, 1.943, 1.895, 1.860, 1.833)


def interval_of(values: Sequence[float]) -> Interval:
    """Return mean and interval of one value per seed, at least two."""
    middle, seeds = mean(values), len(values)
    half = QUANTILES[min(seeds, len(QUANTILES) + 1) - 2] * stdev(values) / seeds**0.5
    return Interval(middle, middle - half, middle + half)
