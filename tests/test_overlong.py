import pytest
from trl.rewards import get_soft_overlong_punishment

from es_trl.rewards import SoftOverlongPunishment


def test_equation_13():
    # longest 10, cache 4: nothing up to 6, then a quarter a token
    reward = SoftOverlongPunishment(4, max_completion_length=10)
    assert reward([[0] * n for n in (1, 6, 7, 8, 9, 10)]) == [0.0, 0.0, -0.25, -0.5, -0.75, -1.0]


def test_values_are_those_of_trl():
    lengths = [[0] * n for n in range(1, 21)]
    assert SoftOverlongPunishment(5, 20)(lengths) == get_soft_overlong_punishment(20, 5)(completion_ids=lengths)


def test_follows_the_length():
    reward = SoftOverlongPunishment(4, max_completion_length=10)
    reward.max_completion_length = 40
    assert reward([[0] * 10, [0] * 38]) == [0.0, -0.5]


def test_without_a_length_it_is_refused():
    with pytest.raises(ValueError, match="does not know the longest completion"):
        SoftOverlongPunishment(4)([[0]])


def test_without_a_cache_nothing_is_punished():
    assert SoftOverlongPunishment(0, 10)([[0] * 10]) == [0.0]


@pytest.mark.parametrize("cache", [-1, 2.5, True])
def test_bad_caches_are_refused(cache):
    with pytest.raises(ValueError, match="`cache` is"):
        SoftOverlongPunishment(cache)
