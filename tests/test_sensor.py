import math
from statistics import mean, stdev

import pytest
import torch
from accelerate import Accelerator

from es_trl import ESGRPOConfig
from es_trl.trainer.sensor import EntropySensor, completion_mask, cut_ratios, prompt_index


@pytest.fixture
def accelerator():
    return Accelerator(cpu=True)


def test_token_mean_not_the_mean_of_means(accelerator):
    sensor = EntropySensor(prompts=3)
    sensor.add(torch.tensor([[1.0, 9.0, 9.0]]), torch.tensor([[1, 0, 0]]), torch.tensor([0]))
    sensor.add(torch.tensor([[2.0, 3.0, 4.0]]), torch.tensor([[1, 1, 1]]), torch.tensor([2]))
    # (1 + 2 + 3 + 4) / 4, where the mean of the batches' means would be 2
    assert sensor.read(accelerator).entropy == 2.5


def test_standard_error_by_hand(accelerator):
    sensor = EntropySensor(prompts=2)
    sensor.add(torch.tensor([[1.0, 3.0], [4.0, 8.0]]), torch.ones(2, 2), torch.tensor([0, 1]))
    # prompts of 4 and 12 nats over 2 tokens each, mean 4: residuals -4 and 4, (2 / 1 * 32) ** 0.5 / 4
    assert sensor.read(accelerator).entropy_se == pytest.approx(2.0)


def test_standard_error_is_that_of_independent_prompts(accelerator):
    means = [0.3, 0.7, 0.4, 0.9, 0.2]
    sensor = EntropySensor(prompts=5)
    for index, value in enumerate(means):
        # eight equal completions of a prompt are one observation, not eight
        sensor.add(torch.full((8, 3), value), torch.ones(8, 3), torch.full((8,), index))
    reading = sensor.read(accelerator)
    assert reading.entropy == pytest.approx(mean(means))
    assert reading.entropy_se == pytest.approx(stdev(means) / 5**0.5, rel=1e-6)


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
    scatter = stdev(reading.entropy for reading in readings)
    assert mean(reading.entropy_se for reading in readings) == pytest.approx(scatter, rel=0.1)


def test_order_and_batches_of_completions_do_not_matter(accelerator):
    torch.manual_seed(0)
    entropies, mask, index = torch.rand(12, 5), torch.rand(12, 5) < 0.7, torch.arange(12) // 3
    whole, cut, order = EntropySensor(prompts=4), EntropySensor(prompts=4), torch.randperm(12)
    whole.add(entropies, mask, index)
    for rows in order.split(5):
        cut.add(entropies[rows], mask[rows], index[rows])
    one, other = whole.read(accelerator), cut.read(accelerator)
    assert (other.entropy, other.entropy_se) == pytest.approx((one.entropy, one.entropy_se), rel=1e-6)


def test_nan_in_padding_does_not_count_and_nan_in_a_token_does(accelerator):
    for mask, expected in (([[1, 0]], 1.0), ([[1, 1]], math.nan)):
        sensor = EntropySensor(prompts=1)
        sensor.add(torch.tensor([[1.0, math.nan]]), torch.tensor(mask), torch.tensor([0]))
        assert sensor.read(accelerator).entropy == pytest.approx(expected, nan_ok=True)


def test_one_prompt_has_no_standard_error(accelerator):
    sensor = EntropySensor(prompts=2)
    sensor.add(torch.ones(2, 3), torch.tensor([[1, 1, 1], [0, 0, 0]]), torch.tensor([0, 1]))
    assert sensor.read(accelerator).entropy_se is None


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


def cut(mode, ratios, low=None, high=None):
    bounds = {"vllm_importance_sampling_clip_min": low, "vllm_importance_sampling_clip_max": high}
    args = ESGRPOConfig("unused", vllm_importance_sampling_mode=mode, **bounds, use_cpu=True, bf16=False)
    return cut_ratios({"importance_sampling_ratio": torch.tensor(ratios)}, args)


def test_which_importance_ratios_were_cut():
    ratios = [[0.2, 0.5, 1.0, 2.0]]  # as TRL leaves them: those beyond a bound are at it
    assert cut("token_truncate", ratios, high=2.0).tolist() == [[False, False, False, True]]
    assert cut("token_truncate", ratios, low=0.2, high=2.0).tolist() == [[True, False, False, True]]
    assert cut("token_truncate", ratios, low=0.2).tolist() == [[True, False, False, False]]
    assert cut("token_mask", [[0.0, 0.5, 2.0]], low=0.5, high=2.0).tolist() == [[True, False, False]]
    assert cut("sequence_truncate", [[3.0], [1.0]], high=3.0).tolist() == [[True], [False]]
    assert cut("sequence_mask", [[0.0], [3.0]], high=3.0).tolist() == [[True], [False]]
    assert cut_ratios({}, None) is None


def test_cut_ratios_are_a_share_of_tokens(accelerator):
    sensor = EntropySensor(prompts=2)
    # 2 of 3 scored tokens, the last column being padding; then 1 of 5: of the rollout 3 of 8, and not (2/3 + 1/5) / 2
    cut, mask = torch.tensor([[True, True, False, True]]), torch.tensor([[1, 1, 1, 0]])
    sensor.add(torch.ones(1, 4), mask, torch.tensor([0]), None, cut)
    cut, mask = torch.tensor([[True, False, False], [False, False, True]]), torch.tensor([[1, 1, 1], [1, 1, 0]])
    sensor.add(torch.ones(2, 3), mask, torch.tensor([1, 1]), None, cut)
    reading = sensor.read(accelerator)
    assert (reading.cut_ratios, reading.entropy) == (3 / 8, 1.0)


def test_cut_ratios_are_a_share_of_completions(accelerator):
    sensor = EntropySensor(prompts=2)
    cut = torch.tensor([[True], [False], [True], [True]])
    mask = torch.tensor([[1, 1, 1], [1, 0, 0], [0, 0, 0], [1, 1, 0]])  # the third is left out of the loss
    sensor.add(torch.ones(4, 3), mask, torch.tensor([0, 0, 1, 1]), None, cut)
    assert sensor.read(accelerator).cut_ratios == pytest.approx(2 / 3)


def test_no_ratio_is_cut_without_vllm(accelerator):
    sensor = EntropySensor(prompts=1)
    sensor.add(torch.ones(1, 2), torch.ones(1, 2), torch.tensor([0]))
    assert sensor.read(accelerator).cut_ratios is None
    sensor.add(torch.ones(1, 2), torch.ones(1, 2), torch.tensor([0]), None, torch.zeros(1, 2, dtype=torch.bool))
    assert sensor.read(accelerator).cut_ratios == 0.0


def test_one_reduce_reads_everything(accelerator, monkeypatch):
    sensor, shapes = EntropySensor(prompts=3), []
    sensor.add(torch.ones(1, 2), torch.ones(1, 2), torch.tensor([0]), None, torch.ones(1, 1, dtype=torch.bool))

    def of_two_processes(self, tensor, reduction):
        shapes.append(tuple(tensor.shape))
        other = EntropySensor(prompts=3)  # 3 completions of which none was cut
        none = torch.zeros(3, 1, dtype=torch.bool)
        other.add(torch.ones(3, 2), torch.ones(3, 2), torch.tensor([1, 1, 2]), None, none)
        return tensor + other._sums

    monkeypatch.setattr(type(accelerator), "reduce", of_two_processes)
    assert sensor.read(accelerator).cut_ratios == 0.25 and shapes == [(5, 3)]
