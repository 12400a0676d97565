import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trl.trainer.utils import RepeatSampler

from es_trl.curriculum.prompt_order import PromptOrder


def order(sizes, weights=None, seed=3, shuffle=True):
    made = PromptOrder(sizes, seed, shuffle)
    made.enter(weights or {name: 1.0 / len(sizes) for name in sizes})
    return made


def test_one_data_set_has_the_order_of_trl():
    # three passes over 13 rows, 4 a rollout: the last row of each pass is left out
    sampler = RepeatSampler(range(13), mini_repeat_count=1, batch_size=4, shuffle=True, seed=3)
    expected = [row for _ in range(3) for row in sampler]
    own = order({"train": 13})
    found = []
    for _ in range(9):
        own.begin_rollout()
        found += [row for _, row in own.draw(4)]
    assert found == expected


def test_unshuffled_rows_come_in_their_own_order():
    own = order({"train": 5}, shuffle=False)
    for expected in ([0, 1], [2, 3], [0, 1]):
        own.begin_rollout()
        assert own.draw(2) == [("train", row) for row in expected]


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
        own.begin_rollout()
        places = own.draw(count)
        assert len(places) == count == len(set(places))  # no prompt twice in a rollout
        drawn.update(name for name, _ in places)
        for name, share in shares.items():
            assert abs(drawn[name] - share * sum(drawn.values())) < 1.0


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

    def rollout(own, count):
        own.begin_rollout()
        return own.draw(count)

    expected = [rollout(whole, count) for count in draws]
    stopped = order(sizes, weights)
    for count in draws[:at]:
        rollout(stopped, count)
    resumed.load_state_dict(json.loads(json.dumps(stopped.state_dict())))
    assert [rollout(resumed, count) for count in draws[at:]] == expected[at:]


def test_fresh_prompts_are_others_than_those_of_the_rollout():
    own = order({"train": 10})
    for _ in range(20):
        own.begin_rollout()
        rows = [row for count in (6, 2, 2) for _, row in own.draw(count)]
        assert sorted(rows) == list(range(10))  # the whole data set, though passes begin in between


def test_state_goes_on_in_a_pass_that_a_fresh_draw_began():
    whole, resumed = order({"train": 10}), order({"train": 10})
    whole.draw(8)
    whole.draw(4)
    resumed.load_state_dict(json.loads(json.dumps(whole.state_dict())))
    for own in (whole, resumed):
        own.begin_rollout()
    assert whole.draw(6) == resumed.draw(6)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (lambda: order({"train": 14}), "sizes {'train': 13} but this run has {'train': 14}"),
        (lambda: order({"train": 13}, seed=4), "seed 3 but this run has 4"),
        (lambda: order({"train": 13}, shuffle=False), "shuffle True but this run has False"),
        (lambda: order({"train": 13}, {"train": 0.5}), "weights {'train': 1.0} but this run has {'train': 0.5}"),
    ],
)
def test_state_of_another_order_is_refused(other, message):
    state = json.loads(json.dumps(order({"train": 13}).state_dict()))
    with pytest.raises(ValueError, match=message):
        other().load_state_dict(state)
