import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trl.trainer.utils import RepeatSampler

from es_trl.prompts import PromptOrder


def order(sizes, weights=None, seed=3, shuffle=True):
    made = PromptOrder(sizes, seed, shuffle)
    made.enter(weights or {name: 1.0 / len(sizes) for name in sizes})
    return made


def test_one_data_set_has_the_order_of_trl():
    # three passes over 13 rows, 4 a rollout: the last row of each pass is left out
    sampler = RepeatSampler(range(13), mini_repeat_count=1, batch_size=4, shuffle=True, seed=3)
    expected = [row for _ in range(3) for row in sampler]
    own = order({"train": 13})
    assert [row for _ in range(9) for _, row in own.draw(4)] == expected


def test_unshuffled_rows_come_in_their_own_order():
    own = order({"train": 5}, shuffle=False)
    assert [own.draw(2) for _ in range(3)] == [
        [("train", 0), ("train", 1)], [("train", 2), ("train", 3)], [("train", 0), ("train", 1)]
    ]  # fmt: skip


@given(
    st.integers(0, 5),
    st.lists(st.integers(1, 6), min_size=2, max_size=3),
    st.lists(st.integers(1, 8), min_size=1, max_size=20),
)
def test_mixing_is_exact(seed, weights, draws):
    total = sum(weights)
    shares = {f"set{i}": weight / total for i, weight in enumerate(weights)}
    own = order(dict.fromkeys(shares, 30), shares, seed)
    drawn = Counter()
    for count in draws:
        places = own.draw(count)
        assert len(places) == count == len(set(places))  # no prompt twice in a rollout
        drawn.update(name for name, _ in places)
        for name, share in shares.items():
            assert abs(drawn[name] - share * sum(drawn.values())) < 1.0 + 1e-9


def test_a_pass_has_every_row_once():
    own = order({"train": 12})
    assert sorted(row for _ in range(3) for _, row in own.draw(4)) == list(range(12))


def test_a_later_stage_goes_on_where_a_data_set_was_left():
    own = order({"easy": 12, "hard": 12}, {"easy": 1.0})
    first = [row for _, row in own.draw(4)]
    own.enter({"easy": 0.5, "hard": 0.5})
    later = [row for _ in range(4) for name, row in own.draw(4) if name == "easy"]
    assert sorted(first + later) == list(range(12))


@given(st.lists(st.integers(1, 5), min_size=1, max_size=12), st.integers(0, 11))
def test_state_goes_on(draws, at):
    sizes, weights = {"easy": 7, "hard": 5}, {"easy": 0.7, "hard": 0.3}
    whole, resumed = order(sizes, weights), order(sizes, weights)
    expected = [whole.draw(count) for count in draws]
    stopped = order(sizes, weights)
    for count in draws[:at]:
        stopped.draw(count)
    resumed.load_state_dict(json.loads(json.dumps(stopped.state_dict())))
    assert [resumed.draw(count) for count in draws[at:]] == expected[at:]


def test_state_of_other_data_is_refused():
    state = order({"train": 13}).state_dict()
    with pytest.raises(ValueError, match="sizes: {'train': 13}, and this run has {'train': 14}"):
        order({"train": 14}).load_state_dict(state)
