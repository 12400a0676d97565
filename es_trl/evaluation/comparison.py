"""Differences between two evaluations, and where their curves of pass@k cross."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..common.tables import as_table
from ..estimates.intervals import LEVEL, Interval, resampled_means
from ..estimates.pass_at_k import table_of
from ..estimates.result import Evaluation


@dataclass(frozen=True)
class Comparison:
    """
    Pass@k of an evaluation minus that of a first one.

    Args:
        ks (`list[int]`):
            The values of k of both evaluations, as far as both have so many completions per problem.
        differences (`list[Interval]`):
            The differences, one per k.
        paired (`bool`):
            Whether both have the same problems, so that the difference of each problem is resampled. Otherwise the
            problems of each evaluation are resampled alone, which makes the intervals wider.
        crossing (`Interval`, *optional*):
            The k at which the curves cross first, and its interval over the resamples that cross. `None` if they do
            not cross.
        crossing_share (`float`):
            Share of the resamples in which the curves cross.
    """

    ks: list[int]
    differences: list[Interval]
    paired: bool
    crossing: Interval | None
    crossing_share: float

    def as_text(self, first: str, other: str) -> str:
        """Return the differences as a table, and a sentence on the crossing."""
        rows = [
            (str(k), f"{each.value:+.4f}", f"{each.low:+.4f} to {each.high:+.4f}", _verdict(each))
            for k, each in zip(self.ks, self.differences, strict=True)
        ]
        how = "paired over problems" if self.paired else "unpaired, because their problems differ"
        header = ("k", "difference", f"{100 * LEVEL:.0f} % interval", "differs from 0")
        share = f"{100 * self.crossing_share:.1f} % of the resamples cross"
        crossing = f"the curves do not cross; {share}"
        if self.crossing is not None:
            k = self.crossing
            crossing = f"the curves cross at k = {k.value:.3g} ({k.low:.3g} to {k.high:.3g}); {share}"
        return f"{other} minus {first}, {how}\n{as_table(header, rows)}\n{crossing}"


def compare(first: Evaluation, other: Evaluation, seed: int = 0) -> Comparison:
    """
    Return pass@k of `other` minus that of `first`, with bootstrap intervals over problems.

    Args:
        first (`Evaluation`), other (`Evaluation`):
            The evaluations.
        seed (`int`, *optional*, defaults to `0`):
            Seed of the resamples.
    """
    ks = sorted(k for k in {*first.pass_at_k, *other.pass_at_k} if k <= min(first.n, other.n))
    tables = [table_of(each.correct, each.n, ks) for each in (first, other)]
    paired = have_same_problems(first, other)
    if paired:
        drawn = resampled_means(tables[1] - tables[0], seed)
    else:
        drawn = resampled_means(tables[1], seed + 1) - resampled_means(tables[0], seed)
    means = tables[1].mean(axis=0) - tables[0].mean(axis=0)
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    differences = [Interval(*map(float, each)) for each in zip(means, low, high, strict=True)]
    found = [at for at in (crossing(ks, row) for row in drawn) if at is not None]
    at = crossing(ks, means)
    ends = np.quantile(found, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]) if found else (math.nan, math.nan)
    where = None if at is None else Interval(at, float(ends[0]), float(ends[1]))
    return Comparison(ks, differences, paired, where, len(found) / len(drawn))


def have_same_problems(first: Evaluation, other: Evaluation) -> bool:
    """Return whether two evaluations have the same problems in the same order, as far as their folders tell."""
    if first.problems != other.problems:
        return False
    if first.digest is not None and other.digest is not None:
        return first.digest == other.digest
    return first.data == other.data


def differing_settings(first: Evaluation, other: Evaluation) -> list[str]:
    """Return what two evaluations do differently with their completions, in words, beside their numbers."""
    pairs = [("rewards", first.rewards, other.rewards)]
    pairs += [(name, first.settings.get(name), other.settings.get(name)) for name in first.settings if name != "seed"]
    return [f"{name} ({there} and {here})" for name, there, here in pairs if there != here]


def crossing(ks: Sequence[int], differences: Sequence[float] | np.ndarray) -> float | None:
    """
    Return the k at which a difference changes its sign first, interpolated in the logarithm of k.

    Args:
        ks (sequence of `int`):
            Values of k, ascending.
        differences (sequence of `float`):
            One per k.

    Returns:
        `float` or `None`: the k, from the first to the last one; `None` if the sign does not change.
    """
    before = None  # the last difference that is not 0
    for place, value in enumerate(differences):
        if value == 0:
            continue
        if before is not None and (value > 0) != (differences[before] > 0):
            if place > before + 1:  # 0 in between
                return float(ks[before + 1])
            share = differences[before] / (differences[before] - value)
            return math.exp((1 - share) * math.log(ks[before]) + share * math.log(ks[place]))
        before = place
    return None


def _verdict(each: Interval) -> str:
    return "higher" if each.low > 0 else "lower" if each.high < 0 else "no"
