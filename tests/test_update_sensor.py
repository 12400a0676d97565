"""The sensor of the present policy's entropy: its numbers, and its values in a run."""

import math

import pytest
import torch
from accelerate import Accelerator
from method_runs import PLAIN

from es_trl.trainer import update_trainer
from es_trl.trainer.sensor import UpdateSensor


@pytest.fixture
def accelerator():
    return Accelerator(cpu=True)


def equation_7(logps, old_logps, mask):
    """MAI-Thinking-1, equation 7: the mean of -log pi * r over the set T of scored tokens."""
    terms = []
    for i in range(len(logps)):
        for t in range(len(logps[i])):
            if mask[i][t] == 1:
                r = math.exp(logps[i][t]) / math.exp(old_logps[i][t])
                terms.append(-logps[i][t] * r)
    return sum(terms) / len(terms)


def reading(accelerator, *micro_batches):
    sensor = UpdateSensor()
    for micro_batch in micro_batches:
        sensor.add(*micro_batch)
    return sensor.read(accelerator)


def test_by_hand(accelerator):
    new, old = torch.tensor([[0.5, 0.25, 0.125]]).log(), torch.tensor([[0.25, 0.25, 0.5]]).log()
    # log 2 of ratio 2, 2 log 2 of ratio 1, and 3 log 2 of ratio 1/4
    assert reading(accelerator, (new, old, torch.ones(1, 3))) == pytest.approx((2 + 2 + 0.75) / 3 * math.log(2))
    assert reading(accelerator, (new, old, torch.tensor([[1, 1, 0]]))) == pytest.approx(2 * math.log(2))
    assert reading(accelerator, (new, old, torch.zeros(1, 3))) is None


def test_without_a_move_it_is_the_mean_negative_log_probability(accelerator):
    logps = -torch.rand(4, 6)
    assert reading(accelerator, (logps, logps, torch.ones(4, 6))) == pytest.approx(-logps.mean().item())


def test_the_equation_for_any_micro_batches(accelerator):
    torch.manual_seed(0)
    new, old, mask = -3 * torch.rand(12, 5), -3 * torch.rand(12, 5), (torch.rand(12, 5) < 0.7).int()
    expected = equation_7(new.tolist(), old.tolist(), mask.tolist())
    new[mask == 0] = math.nan  # of padding
    for size in (12, 5, 1):
        parts = zip(new.split(size), old.split(size), mask.split(size), strict=True)
        assert reading(accelerator, *parts) == pytest.approx(expected, rel=1e-6)


def test_its_mean_over_what_is_sampled_is_the_entropy_of_the_present_policy(accelerator):
    counts = torch.tensor([10, 5, 4, 1])  # of each token in 20 samples of the old policy, as often as it is likely
    old, new = counts / 20, torch.tensor([0.1, 0.2, 0.3, 0.4])
    tokens = torch.arange(4).repeat_interleave(counts)[None]
    found = reading(accelerator, (new.log()[tokens], old.log()[tokens], torch.ones(1, 20)))
    entropy = -(new * new.log()).sum().item()
    assert found == pytest.approx(entropy, rel=1e-6)
    assert abs(-(old * old.log()).sum().item() - entropy) > 0.1  # which the old policy does not have


def test_one_reduce_of_two_numbers_per_update(accelerator, monkeypatch):
    sensor, sent = UpdateSensor(), []

    def of_two_processes(self, tensor, reduction):
        sent.append(tensor.tolist())
        return tensor + torch.tensor([3.0, 2.0])

    monkeypatch.setattr(type(accelerator), "reduce", of_two_processes)
    for _ in range(2):  # each reading begins anew
        for _ in range(2):
            sensor.add(torch.full((1, 2), -1.0, dtype=torch.bfloat16), torch.full((1, 2), -1.0), torch.tensor([[1, 0]]))
        assert sensor.read(accelerator) == 1.25
    assert sent == [[2.0, 2.0]] * 2


PLAIN_SENSOR = {**PLAIN, "entropy_sensor": "update"}
WHOLE = {"per_device_train_batch_size": 8, "steps_per_generation": 2, "max_steps": 2}
HALVES = {"steps_per_generation": 4, "gradient_accumulation_steps": 2, "max_steps": 2}


def test_the_cut_of_an_update_does_not_matter(lab_trainer, monkeypatch):
    sensors = []

    class Spy(UpdateSensor):
        def __init__(self):
            super().__init__()
            self.batches, self.updates = [], []
            sensors.append(self)

        def add(self, logps, old_logps, mask):
            self.batches.append([each.detach().clone() for each in (logps, old_logps, mask)])
            super().add(logps, old_logps, mask)

        def read(self, accelerator):
            self.updates.append(self.batches)
            self.batches = []
            return super().read(accelerator)

    monkeypatch.setattr(update_trainer, "UpdateSensor", Spy)
    found, sizes = [], set()
    for cut in (
        WHOLE,
        HALVES,
        {**HALVES, "micro_batches": "completions"},
        {**HALVES, "max_tokens_per_micro_batch": 1},
    ):
        trainer = lab_trainer(**PLAIN_SENSOR, **cut)
        trainer.train()
        (record,) = trainer.history.records
        updates, found = sensors[-1].updates, [*found, record["update_entropies"]]
        sizes.add(len(updates[0]))
        for batches, entropy in zip(updates, record["update_entropies"], strict=True):
            rows = [[row for batch in batches for row in batch[column].tolist()] for column in range(3)]
            assert entropy == pytest.approx(equation_7(*rows), rel=1e-6)
        first, second = (torch.cat([(new - old)[mask == 1] for new, old, mask in each]) for each in updates)
        assert first.abs().max() < 1e-5 < 1e-3 < second.abs().max()  # no ratio has moved before the first update
        assert (record["update_controls"], record["control"]) == (None, None)  # nothing decides
    assert len(sizes) > 1 and all(each == pytest.approx(found[0], abs=1e-4) for each in found)


def test_what_is_only_measured_changes_no_weight_and_off_measures_nothing(lab_trainer, monkeypatch):
    measured = lab_trainer(**PLAIN_SENSOR)
    measured.train()
    monkeypatch.setattr(update_trainer, "UpdateSensor", None)  # so that a call would fail
    plain = lab_trainer(**PLAIN)
    plain.train()
    expected = plain.model.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in measured.model.state_dict().items())
    assert {record["update_entropies"] for record in plain.history.records} == {None}


def test_one_update_per_rollout_has_the_mean_negative_log_probability(lab_trainer):
    one = {"steps_per_generation": 1, "per_device_train_batch_size": 64, "num_generations": 8, "max_steps": 2}
    trainer = lab_trainer(**PLAIN_SENSOR, **one)
    trainer.train()
    for record in trainer.history.records:
        (estimate,) = record["update_entropies"]  # of the sampled tokens alone, hence noisier than the entropy
        assert estimate == pytest.approx(record["entropy"], abs=0.15) and estimate != record["entropy"]
