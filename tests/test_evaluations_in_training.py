"""Evaluations during training: pass@k by hand, and a run that none of them moves."""

import random

import numpy as np
import pytest
import torch
from datasets import IterableDataset
from lab_runs import BONUS, LAB_ARGS, without_seconds, without_times

from es_trl import ESGRPOConfig, ESGRPOTrainer
from es_trl.estimates.pass_at_k import pass_at_k
from es_trl.lab import BASE_MODEL, countdown_dataset
from es_trl.trainer.evaluation import Evaluation


EVAL = {"eval_strategy": "steps", "eval_steps": 3, "per_device_eval_batch_size": 8, "eval_pass_at_k": [1, 4]}
PROBLEMS = countdown_dataset(5, seed=2)
DATA = {"train": countdown_dataset(64, seed=1), "hard": countdown_dataset(64, seed=3, num_numbers=(4,))}


def share_of_pluses(completions, **kwargs):
    """Unlike the task's reward it is above 0 for some completions of most prompts. It draws, as a user's may."""
    noise = 1e-3 * random.random() + 1e-3 * np.random.rand()
    return [text.count("+") / max(len(text), 1) - 0.2 + noise for text in completions]


class Noting(ESGRPOTrainer):
    """Keeps the prompts and the rewards of its evaluations and of its rollouts, and the metrics."""

    def __init__(self, *args, **kwargs):
        self.prompts, self.rewarded, self.measured = {True: [], False: []}, [], []
        super().__init__(*args, **kwargs)

    def _calculate_rewards(self, inputs, prompts, *args):
        rewards = super()._calculate_rewards(inputs, prompts, *args)
        self.prompts[self.model.training].append(prompts)
        if not self.model.training:
            self.rewarded.append(rewards)
        return rewards

    def evaluate(self, *args, **kwargs):
        self.measured.append(super().evaluate(*args, **kwargs))
        return self.measured[-1]


def make(folder, reward=share_of_pluses, evaluated=PROBLEMS, **changes):
    args = ESGRPOConfig(str(folder), **{**LAB_ARGS, **changes})
    data = {"train_dataset": DATA if args.curriculum else DATA["train"], "eval_dataset": evaluated}
    return Noting(BASE_MODEL, reward, args, **data)


def mean_pass_at(k, rewards, samples):
    counts = [(group > 0).sum().item() for group in torch.cat(rewards).sum(dim=1).view(-1, samples)]
    return np.mean([pass_at_k(samples, count, k) for count in counts])


def test_counts_by_hand():
    found = Evaluation([1, 2], 2, 3, functions=2)
    # the least of the first two: 1, -1 | 0, nothing | 1 (the other gave none), 1 | and a problem that fills the batch
    found.add(torch.tensor([[1.0, 2.0, -9.0], [-1.0, 1.0, 9.0], [0.0, 1.0, 9.0], [torch.nan, torch.nan, 9.0]]))
    found.add(torch.tensor([[torch.nan, 1.0, 0.0], [1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [1.0, 1.0, 0.0]]))
    assert found.metrics("eval_x") == {"eval_x_pass@1": pytest.approx((0.5 + 0 + 1) / 3), "eval_x_pass@2": 2 / 3}


def test_metrics_of_an_evaluation_by_hand(tmp_path):
    trainer = make(tmp_path, eval_pass_at_k=[1, 3], num_generations_eval=8, per_device_eval_batch_size=16)
    metrics = trainer.evaluate()
    assert sum(map(len, trainer.rewarded)) == 5 * 8
    for k in (1, 3):
        assert metrics[f"eval_pass@{k}"] == pytest.approx(mean_pass_at(k, trainer.rewarded, 8)), k
    assert 0.0 < metrics["eval_pass@1"] < metrics["eval_pass@3"] < 1.0
    again, other = trainer.evaluate(), trainer.evaluate(countdown_dataset(3, seed=9), metric_key_prefix="test")
    assert without_times([again]) == without_times([metrics])  # the same problems and the same noise
    assert other["test_pass@1"] == pytest.approx(mean_pass_at(1, trainer.rewarded[-2:], 8))


def test_datasets_by_name_and_the_best_model(tmp_path):
    best = {"metric_for_best_model": "b_pass@4", "load_best_model_at_end": True, "save_strategy": "steps"}
    named = {"a": PROBLEMS, "b": countdown_dataset(3, seed=4)}
    trainer = make(tmp_path, evaluated=named, **{**EVAL, "eval_steps": 4}, **best, save_steps=4)
    trainer.train()
    assert [entry["eval_a_pass@1"] for entry in trainer.state.log_history if "eval_a_pass@1" in entry]
    values = [entry["eval_b_pass@4"] for entry in trainer.state.log_history if "eval_b_pass@4" in entry]
    assert len(values) == 2 and trainer.state.best_metric == max(values)


def test_the_overlong_punishment_makes_no_completion_wrong(tmp_path):
    trainer = make(tmp_path, lambda completions, **_: [0.25] * len(completions), eval_pass_at_k=[1], overlong_cache=12)
    assert trainer.evaluate()["eval_pass@1"] == 1.0
    assert torch.cat(trainer.rewarded).sum(dim=1).min() < 0.0


SWITCH = {
    "entropy_schedule": {"kind": "stable_anneal", "target": 0.5, "end": 0.2, "ratio": 0.5},
    "entropy_actuator": {"kind": "entropy_bonus", "low": -0.5, "high": 0.5},
    "curriculum": [{"start": "onset", "data": "hard", "num_generations": 8, "max_completion_length": 16}],
    "dynamic_sampling_tries": 1,
    "overlong_cache": 3,
}
KINDS = {
    "plain": {},
    "bonus": BONUS,
    "stages": SWITCH,
    "once": {**BONUS, "gradient_accumulation_steps": 4, "max_steps": 4, "eval_steps": 1},
    "adaptive": {"use_adaptive_entropy": True, "entropy_coef": 0.1, "entropy_target": 0.5},
    "start": {**BONUS, "eval_on_start": True, "eval_steps": 4},
    "reused": {**BONUS, "num_iterations": 2, "beta": 0.01},
}


def left(trainer):
    """What a run leaves, without its times."""
    lines = [line for line in trainer.state.log_history if not any(name.startswith("eval_") for name in line)]
    return without_seconds(trainer.history.records), without_times(lines), trainer.prompts[True]


def assert_equal(trainer, other):
    assert left(trainer) == left(other)
    weights = other.model.state_dict()
    assert [name for name, value in trainer.model.state_dict().items() if not torch.equal(value, weights[name])] == []


def random_states():
    return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_no_run_is_moved(kind, tmp_path):
    changes = {"max_steps": 16, **EVAL, **KINDS[kind]}
    evaluated = make(tmp_path / "one", **changes)
    evaluated.train()
    states = random_states()
    plain = make(tmp_path / "two", **{**changes, "eval_strategy": "no", "eval_on_start": False})
    plain.train()
    assert states == random_states()
    assert len(evaluated.measured) >= 4 and len({line["eval_pass@1"] for line in evaluated.measured}) > 1
    assert_equal(evaluated, plain)
    assert len({str(prompts) for prompts in evaluated.prompts[False]}) <= 4  # those of one evaluation


@pytest.mark.slow
def test_a_resumed_run_is_not_moved_either(tmp_path):
    changes = {"max_steps": 16, **EVAL, **SWITCH, "save_strategy": "steps", "save_steps": 3}
    evaluated = make(tmp_path / "one", **changes)
    evaluated.train()
    plain = make(tmp_path / "two", **{**changes, "eval_strategy": "no"})
    plain.train()
    for update in (3, 9):
        resumed = make(tmp_path / str(update), **changes)
        resumed.train(resume_from_checkpoint=str(tmp_path / "one" / f"checkpoint-{update}"))
        assert without_seconds(resumed.history.records) == without_seconds(plain.history.records)
        weights = plain.model.state_dict()
        assert all(torch.equal(value, weights[name]) for name, value in resumed.model.state_dict().items())
        later = [metrics["eval_pass@1"] for metrics in evaluated.measured[update // 3 :]]
        assert [metrics["eval_pass@1"] for metrics in resumed.measured] == later


@pytest.mark.parametrize("ks", [None, [1]])
def test_a_rollout_does_not_count_the_seconds_of_an_evaluation(ks, tmp_path, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("es_trl.trainer.rollout.time.perf_counter", lambda: clock[0])

    def reward(completions, **kwargs):
        clock[0] += 1.0 if trainer.model.training else 1000.0
        return share_of_pluses(completions)

    named = {"a": PROBLEMS, "b": PROBLEMS}
    trainer = make(tmp_path, reward, named, **{**EVAL, "eval_pass_at_k": ks}, max_steps=8)
    trainer.train()
    assert [record["seconds"] for record in trainer.history.records] == [1.0, 1.0] and clock[0] > 5000.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"eval_pass_at_k": [0]}, r"must be a list of whole numbers >= 1, got \[0\]: set for example \[1, 8\]"),
        ({"eval_pass_at_k": []}, "must be a list of whole numbers >= 1"),
        ({"eval_pass_at_k": [True]}, "must be a list of whole numbers >= 1"),
        ({"eval_pass_at_k": [1.0]}, "must be a list of whole numbers >= 1"),
        ({"eval_pass_at_k": 4}, "must be a list of whole numbers >= 1"),
        ({"eval_pass_at_k": [1, 5]}, "must be at most the 4 completions per prompt of an evaluation, got 5"),
        ({"eval_pass_at_k": [3], "num_generations_eval": 2}, "must be at most the 2 completions per prompt"),
        ({"eval_pass_at_k": [1], "num_generations_eval": 3}, "must be a multiple of 3"),
        ({"eval_pass_at_k": [1], "metric_for_best_model": "pass@2"}, r"add 2 to eval_pass_at_k"),
        ({"metric_for_best_model": "eval_math_pass@2"}, "do not report it: add 2 to eval_pass_at_k"),
    ],
)
def test_refused_configurations(changes, message, lab_args):
    with pytest.raises(ValueError, match=message):
        lab_args(**changes)


@pytest.mark.parametrize(
    ("evaluated", "metric", "reported"),
    [
        (PROBLEMS, "a_pass@2", "pass@1, pass@2"),
        ({"a": PROBLEMS}, "eval_pass@2", "a_pass@1, a_pass@2"),
        ({"a": PROBLEMS, "b": PROBLEMS}, "c_pass@1", "a_pass@1, a_pass@2, b_pass@1, b_pass@2"),
    ],
)
def test_a_best_model_by_what_is_not_reported(evaluated, metric, reported, tmp_path, no_weights_load):
    message = f"`metric_for_best_model` must be one of {reported}, which the evaluations report, got '{metric}'"
    with pytest.raises(ValueError, match=message):
        make(tmp_path, evaluated=evaluated, eval_pass_at_k=[1, 2], metric_for_best_model=metric)


def test_without_a_dataset_it_is_refused(tmp_path, no_weights_load):
    with pytest.raises(ValueError, match="`eval_pass_at_k` is .* but the trainer has no `eval_dataset`: give one"):
        make(tmp_path, evaluated=None, eval_pass_at_k=[1])
    stream = IterableDataset.from_generator(lambda: iter([{"prompt": "1"}]))
    for evaluated in (stream, {"a": PROBLEMS, "b": stream}):
        with pytest.raises(ValueError, match="needs an `eval_dataset` with a length, got IterableDataset"):
            make(tmp_path, evaluated=evaluated, eval_pass_at_k=[1])
