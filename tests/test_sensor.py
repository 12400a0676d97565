import math

import pytest
import torch
from accelerate import Accelerator

from es_trl.sensor import EntropySensor, completion_mask


@pytest.fixture
def accelerator():
    return Accelerator(cpu=True)


def test_token_mean_not_the_mean_of_means(accelerator):
    sensor = EntropySensor()
    sensor.add(torch.tensor([[1.0, 9.0, 9.0]]), torch.tensor([[1, 0, 0]]))
    sensor.add(torch.tensor([[2.0, 3.0, 4.0]]), torch.tensor([[1, 1, 1]]))
    # (1 + 2 + 3 + 4) / 4, where the mean of the batches' means would be 2
    assert sensor.read(accelerator) == 2.5


def test_reading_starts_the_next_rollout(accelerator):
    sensor = EntropySensor()
    sensor.add(torch.full((2, 2), 5.0), torch.ones(2, 2))
    assert sensor.read(accelerator) == 5.0
    sensor.add(torch.full((1, 2), 1.0), torch.ones(1, 2))
    assert sensor.read(accelerator) == 1.0


def test_nan_in_padding_does_not_count_and_nan_in_a_token_does(accelerator):
    sensor = EntropySensor()
    sensor.add(torch.tensor([[1.0, math.nan]]), torch.tensor([[1, 0]]))
    assert sensor.read(accelerator) == 1.0
    sensor.add(torch.tensor([[1.0, math.nan]]), torch.tensor([[1, 1]]))
    assert math.isnan(sensor.read(accelerator))


def test_nothing_to_measure(accelerator):
    sensor = EntropySensor()
    sensor.add(torch.ones(2, 3), torch.zeros(2, 3))
    assert sensor.read(accelerator) is None


def test_tool_output_does_not_count():
    batch = {"completion_mask": torch.tensor([[1, 1, 0]]), "tool_mask": torch.tensor([[1, 0, 1]])}
    assert completion_mask(batch).tolist() == [[1, 0, 0]]
    del batch["tool_mask"]
    assert completion_mask(batch).tolist() == [[1, 1, 0]]
