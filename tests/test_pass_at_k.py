"""pass@k against the closed form and brute force, and the intervals of means over problems."""

from itertools import combinations

import numpy as np
import pytest

from es_trl.estimates.intervals import Interval, intervals_of
from es_trl.estimates.pass_at_k import pass_at_k, pass_hat_k, table_of


def test_by_hand():
    assert pass_at_k(4, 2, 1) == 0.5 and pass_at_k(4, 2, 2) == pytest.approx(5 / 6) and pass_at_k(4, 2, 3) == 1.0
    assert pass_hat_k(4, 2, 1) == 0.5 and pass_hat_k(4, 2, 2) == pytest.approx(1 / 6) and pass_hat_k(4, 2, 3) == 0.0


@pytest.mark.parametrize("correct", range(7))
@pytest.mark.parametrize("k", range(1, 7))
def test_by_brute_force(correct, k):
    draws = [[each < correct for each in chosen] for chosen in combinations(range(6), k)]
    assert pass_at_k(6, correct, k) == pytest.approx(np.mean([any(draw) for draw in draws]), abs=1e-12)
    assert pass_hat_k(6, correct, k) == pytest.approx(np.mean([all(draw) for draw in draws]), abs=1e-12)


def test_256_completions():
    assert pass_at_k(256, 1, 256) == 1.0 and pass_at_k(256, 1, 1) == pytest.approx(1 / 256)
    assert pass_at_k(256, 128, 8) == pytest.approx(1 - np.prod([(128 - i) / (256 - i) for i in range(8)]), rel=1e-12)
    assert pass_at_k(256, 0, 256) == 0.0 and pass_hat_k(256, 255, 256) == 0.0


@pytest.mark.parametrize("k", [0, 5, -1])
def test_k_out_of_range(k):
    with pytest.raises(ValueError, match="`k` must be from 1 to 4"):
        pass_at_k(4, 2, k)


def test_table():
    assert np.allclose(table_of([0, 2, 4], 4, [1, 2]), [[0, 0], [0.5, 5 / 6], [1, 1]])
    assert table_of([], 4, [1, 2]).shape == (0, 2)


def test_an_interval_has_the_width_of_the_normal_one():
    values = np.repeat([[0.0], [1.0]], 200, axis=0)
    (found,) = intervals_of(values)
    half = 1.96 * 0.5 / np.sqrt(400)
    assert found.value == 0.5 and found.low == pytest.approx(0.5 - half, abs=4e-3)
    assert found.high == pytest.approx(0.5 + half, abs=4e-3)


def test_columns_share_their_resamples():
    column = np.random.default_rng(1).random(50)
    same, other = intervals_of(np.stack([column, column + 1.0], axis=1))
    assert [other.value, other.low, other.high] == pytest.approx([same.value + 1, same.low + 1, same.high + 1])
    assert intervals_of(np.ones((7, 1))) == [Interval(1.0, 1.0, 1.0)]
