"""Generated Countdown prompts, by counts of numbers and by difficulty."""

import pytest

from es_trl.data import DataArguments
from es_trl.lab import countdown_dataset
from es_trl.lab.prompts import load_countdown


@pytest.mark.parametrize(
    ("name", "bounds", "message"),
    [
        (
            "countdown:3,four",
            None,
            "counts from 2 to 6 after 'countdown:', got 'countdown:3,four': set for example countdown:3",
        ),
        ("countdown:3", {"count": [4, 4]}, "keeps no row of countdown:3: 'count' goes from 3 to 3 there"),
    ],
)
def test_generated_prompts_that_are_none_are_refused(name, bounds, message):
    with pytest.raises(ValueError, match=message):
        load_countdown(DataArguments(name, dataset_filter=bounds), seed=0)


@pytest.mark.slow
def test_generated_prompts_by_difficulty():
    rows = load_countdown(DataArguments("countdown:3,4", dataset_filter={"count": [4, 4]}), seed=0)
    assert {len(numbers) for numbers in rows["numbers"]} == {4} and 9_000 < len(rows) < 11_000
    assert load_countdown(DataArguments(), seed=0)["prompt"] == countdown_dataset(20_000, seed=0)["prompt"]
