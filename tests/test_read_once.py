"""The rows of a rollout are read once, and the training stays the same."""

import copy

import pytest
import torch
from datasets import Dataset
from trl import GRPOTrainer

from es_trl.lab import BASE_MODEL, countdown_dataset, countdown_reward
from es_trl.trainer.read_once import PlainRows, ReadOnce, read_once
from es_trl.trainer.rollout_trainer import RolloutTrainer


@pytest.fixture
def reads(monkeypatch):
    """The indices of every read of rows."""
    seen, read = [], Dataset.__getitems__
    monkeypatch.setattr(Dataset, "__getitems__", lambda self, indices: (seen.append(indices), read(self, indices))[1])
    return seen


def weights_of(trainer):
    trainer.train()
    return copy.deepcopy(trainer.model.state_dict())


def same(weights, others):
    return all(torch.equal(value, others[name]) for name, value in weights.items())


@pytest.mark.parametrize(
    ("changes", "rollouts"),
    [({}, 2), ({"num_iterations": 2}, 1), ({"gradient_accumulation_steps": 2, "max_steps": 6}, 3)],
)
def test_rows_are_read_once_per_rollout(changes, rollouts, reads, lab_trainer, lab_args, tmp_path):
    weights = weights_of(lab_trainer(micro_batches="completions", **changes))
    # the loader also reads the rollout after the last one, unless the epoch ends
    assert rollouts <= len(reads) <= rollouts + 1 and all(len(indices) == 16 for indices in reads)
    args = lab_args(**changes, output_dir=str(tmp_path / "trl"))
    other = GRPOTrainer(BASE_MODEL, countdown_reward, args, train_dataset=countdown_dataset(64, seed=1))
    assert same(weights, weights_of(other))


def lengths(completions, **_):
    return [float(len(each)) for each in completions]


WORKERS = pytest.param({"dataloader_num_workers": 2}, marks=pytest.mark.slow)


@pytest.mark.parametrize("changes", [WORKERS, {"remove_unused_columns": True}, {"shuffle_dataset": False}])
def test_other_loaders_train_alike(changes, lab_trainer, tmp_path, monkeypatch):
    weights = weights_of(lab_trainer(reward=lengths, prompts=4, **changes))
    monkeypatch.setattr("es_trl.trainer.rollout_trainer.read_once", lambda dataset, uses: dataset)
    assert same(weights, weights_of(lab_trainer(reward=lengths, prompts=4, output_dir=str(tmp_path / "b"), **changes)))


def test_a_row_may_be_changed(reads):
    view = ReadOnce(Dataset.from_dict({"prompt": ["a", "b"], "n": [1, 2]}), uses=3)
    first = view.__getitems__([1, 1, 0])
    first[0]["prompt"] = "changed"
    del first[2]["n"]
    assert view.__getitems__([1, 1, 0]) == [{"prompt": "b", "n": 2}] * 2 + [{"prompt": "a", "n": 1}]
    assert reads == [[1, 1, 0]] and view[0] == {"prompt": "a", "n": 1} and len(view) == 2


def test_rows_are_read_again_for_other_indices_and_for_the_next_rollout(reads):
    view = ReadOnce(Dataset.from_dict({"prompt": ["a", "b"]}), uses=2)
    for indices in ([0], [0], [0], [1], [0]):  # the third [0] is the next rollout, for example in the next epoch
        assert view.__getitems__(indices) == [{"prompt": "ab"[indices[0]]}]
    assert reads == [[0], [0], [1], [0]]


def test_tensors_are_moved_as_ever():
    dataset = Dataset.from_dict({"prompt": ["a"], "n": [1]})
    plain = ReadOnce(dataset, uses=2).__getitems__([0])
    assert type(plain) is PlainRows and plain.to("cpu", non_blocking=True) is plain
    assert type(ReadOnce(dataset.with_format("torch"), uses=2).__getitems__([0])) is list


def test_a_stream_stays_as_it_is():
    stream = Dataset.from_dict({"prompt": ["a"]}).to_iterable_dataset()
    assert read_once(stream, 4) is stream


def test_the_trainer_keeps_its_dataset(lab_trainer):
    trainer = lab_trainer()
    dataset = trainer.train_dataset
    loader = trainer.get_train_dataloader()
    assert isinstance(trainer, RolloutTrainer) and trainer.train_dataset is dataset
    assert isinstance(loader.dataset, ReadOnce) and len(loader) == len(GRPOTrainer.get_train_dataloader(trainer))
