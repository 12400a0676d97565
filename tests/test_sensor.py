import math
from statistics import mean, stdev

import pytest
import torch
from accelerate import Accelerator

from es_trl.sensor import EntropySensor, completion_mask, prompt_index


@pytest.fixture
def accelerator():
    return Accelerator(cpu=True)


def test_token_mean_not_the_mean_of_means(accelerator):
    sensor = EntropySensor(prompts=3)
    sensor.add(torch.tensor([[1.0, 9.0, 9.0]]), torch.tensor([[1, 0, 0]]), torch.tensor([0]))
    sensor.add(torch.tensor([[2.0, 3.0, 4.0]]), torch.tensor([[1, 1, 1]]), torch.tensor([2]))
    # (1 + 2 + 3 + 4) / 4, where the mean of the batches' means would be 2
    assert sensor.read(accelerator).mean == 2.5


def test_standard_error_by_hand(accelerator):
    sensor = EntropySensor(prompts=2)
    sensor.add(torch.tensor([[1.0, 3.0], [4.0, 8.0]]), torch.ones(2, 2), torch.tensor([0, 1]))
    # prompts of 4 and 12 nats over 2 tokens each, mean 4: residuals -4 and 4, (2 / 1 * 32) ** 0.5 / 4
    assert sensor.read(accelerator).standard_error == pytest.approx(2.0)


def test_standard_error_is_that_of_independent_prompts(accelerator):
    means = [0.3, 0.7, 0.4, 0.9, 0.2]
    sensor = EntropySensor(prompts=5)
    for index, value in enumerate(means):
        # eight equal completions of a prompt are one observation, not eight
        sensor.add(torch.full((8, 3), value), torch.ones(8, 3), torch.full((8,), index))
    reading = sensor.read(accelerator)
    assert reading.mean == pytest.approx(mean(means))
    assert reading.standard_error == pytest.approx(stdev(means) / 5**0.5, rel=1e-6)


def test_standard_error_covers_the_truth(accelerator):
    torch.manual_seed(0)
    readings = []
    for _ in range(400):
        sensor = EntropySensor(prompts=32)
        index = torch.arange(32).repeat_interleave(4)
        level = torch.rand(32)[index]  # of each prompt
        lengths = torch.randint(1, 9, (128, 1))
        sensor.add(level[:, None] + 0.1 * torch.randn(128, 8), torch.arange(8) < lengths, index)
        readings.append(sensor.read(accelerator))
    scatter = stdev(reading.mean for reading in readings)
    assert mean(reading.standard_error for reading in readings) == pytest.approx(scatter, rel=0.1)


def test_order_and_batches_of_completions_do_not_matter(accelerator):
    torch.manual_seed(0)
    entropies, mask, index = torch.rand(12, 5), torch.rand(12, 5) < 0.7, torch.arange(12) // 3
    whole, cut, order = EntropySensor(prompts=4), EntropySensor(prompts=4), torch.randperm(12)
    whole.add(entropies, mask, index)
    for rows in order.split(5):
        cut.add(entropies[rows], mask[rows], index[rows])
    one, other = whole.read(accelerator), cut.read(accelerator)
    assert (other.mean, other.standard_error) == pytest.approx((one.mean, one.standard_error), rel=1e-6)


def test_nan_in_padding_does_not_count_and_nan_in_a_token_does(accelerator):
    for mask, expected in (([[1, 0]], 1.0), ([[1, 1]], math.nan)):
        sensor = EntropySensor(prompts=1)
        sensor.add(torch.tensor([[1.0, math.nan]]), torch.tensor(mask), torch.tensor([0]))
        assert sensor.read(accelerator).mean == pytest.approx(expected, nan_ok=True)


def test_one_prompt_has_no_standard_error(accelerator):
    sensor = EntropySensor(prompts=2)
    sensor.add(torch.ones(2, 3), torch.tensor([[1, 1, 1], [0, 0, 0]]), torch.tensor([0, 1]))
    assert sensor.read(accelerator).standard_error is None


def test_nothing_to_measure(accelerator):
    sensor = EntropySensor(prompts=1)
    sensor.add(torch.ones(2, 3), torch.zeros(2, 3), torch.tensor([0, 0]))
    assert sensor.read(accelerator) is None


def test_prompts_are_counted_over_processes(accelerator, monkeypatch):
    assert prompt_index(6, 3, accelerator).tolist() == [0, 0, 0, 1, 1, 1]
    monkeypatch.setattr(type(accelerator), "process_index", property(lambda self: 1))
    assert prompt_index(6, 3, accelerator).tolist() == [2, 2, 2, 3, 3, 3]
    assert prompt_index(6, 4, accelerator).tolist() == [1, 1, 2, 2, 2, 2]  # one prompt on two processes


def test_tool_output_does_not_count():
    batch = {"completion_mask": torch.tensor([[1, 1, 0]]), "tool_mask": torch.tensor([[1, 0, 1]])}
    assert completion_mask(batch).tolist() == [[1, 0, 0]]
    del batch["tool_mask"]
    assert completion_mask(batch).tolist() == [[1, 1, 0]]
