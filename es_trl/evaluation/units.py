"""The parts into which the sampling is cut, in a fixed order. Each has a seed of its own."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Unit:
    """
    Completions that are sampled at once and stored at once.

    Args:
        number (`int`):
            Place of the unit in the order.
        problems (`tuple[int, ...]`):
            The problems.
        samples (`range`):
            Which completions of each of them.
    """

    number: int
    problems: tuple[int, ...]
    samples: range

    @property
    def keys(self) -> list[tuple[int, int]]:
        """Problem and sample of each completion, in the order in which they are stored."""
        return [(problem, sample) for problem in self.problems for sample in self.samples]

    def seed_of(self, seed: int) -> int:
        """Return the seed of this unit, from 0 to 2**32 - 1, in an evaluation with the seed `seed`."""
        return seed_from(seed, self.number)


def seed_from(seed: int, place: int) -> int:
    """Return a seed from 0 to 2**32 - 1, which differs between places and seeds as random numbers do."""
    return int(np.random.SeedSequence([seed, place]).generate_state(1)[0])


def cut(problems: Sequence[int], n: int, at_once: int) -> list[Unit]:
    """
    Return the units of an evaluation.

    First comes one completion of every problem, then another one, two more, four more, and so on, up to `at_once` more.
    So every unit has about `at_once` completions, and the units of a smaller `n` that is a power of two come first.

    Args:
        problems (sequence of `int`):
            The problems in the order in which they are sampled; those of similar length stand together.
        n (`int`):
            Completions per problem.
        at_once (`int`):
            Completions per unit, at most.
    """
    units: list[Unit] = []
    first = 0
    while first < n:
        samples = range(first, min(n, first + min(max(first, 1), at_once)))
        per_unit = at_once // len(samples)
        for place in range(0, len(problems), per_unit):
            units.append(Unit(len(units), tuple(problems[place : place + per_unit]), samples))
        first = samples.stop
    return units
