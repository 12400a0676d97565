"""Unbiased estimates of pass@k and pass^k of one problem."""

import math
from collections.abc import Sequence

import numpy as np


def pass_at_k(samples: int, correct: int, k: int) -> float:
    """
    Return an unbiased estimate of the probability that at least one of `k` completions is right (paper, Eq. 6).

    Args:
        samples (`int`):
            Number of completions of the problem.
        correct (`int`):
            Number of right completions among them, from 0 to `samples`.
        k (`int`):
            Number of completions in question, from 1 to `samples`.

    Returns:
        `float`: the estimate, from 0 to 1.

    Raises:
        ValueError: for numbers out of these ranges.
    """
    _check(samples, correct, k)
    return 1.0 - math.comb(samples - correct, k) / math.comb(samples, k)


def pass_hat_k(samples: int, correct: int, k: int) -> float:
    """
    Return an unbiased estimate of pass^k: the probability that all of `k` completions are right.

    The arguments, the range and the errors are those of [`pass_at_k`].
    """
    _check(samples, correct, k)
    return math.comb(correct, k) / math.comb(samples, k)


def table_of(correct: Sequence[int], samples: int, ks: Sequence[int]) -> np.ndarray:
    """
    Return pass@k of each problem.

    Args:
        correct (sequence of `int`):
            Number of right completions of each problem.
        samples (`int`):
            Completions per problem.
        ks (sequence of `int`):
            Values of k, each from 1 to `samples`.

    Returns:
        `np.ndarray` of shape `(problems, len(ks))`: estimates from 0 to 1.
    """
    return np.array([[pass_at_k(samples, each, k) for k in ks] for each in correct]).reshape(len(correct), len(ks))


def _check(samples: int, correct: int, k: int) -> None:
    if not 1 <= k <= samples or not 0 <= correct <= samples:
        words = f"got {k} and {correct}: change them, or take more samples"
        raise ValueError(f"`k` must be from 1 to {samples}, and `correct` from 0 to {samples}, {words}")
