"""Whatever GRPOTrainer takes, ESGRPOTrainer takes as well, to the same weights."""

import inspect

import numpy as np
import pytest
import torch
from datasets import Dataset
from lab_runs import BONUS, LAB_ARGS
from tiny_models import tiny_model, tiny_tokenizer
from transformers import TrainerCallback, TrainingArguments
from trl import GRPOConfig, GRPOTrainer

from es_trl import ESGRPOConfig, ESGRPOTrainer, Stage
from es_trl.lab import BASE_MODEL, countdown_dataset, countdown_reward
from es_trl.trainer import arguments
from es_trl.trainer.arguments import by_name, configuration


PROMPTS = Dataset.from_dict({"prompt": [f"{number}+{number}=" for number in range(16)]})


def digits(completions, **kwargs):
    return [float(sum(char.isdigit() for char in text)) for text in completions]


def both(folder, changes, positional=()):
    """Weights after a run by TRL's trainer and by ours, without a schedule."""
    found = []
    for name, config, trainer_class in (("trl", GRPOConfig, GRPOTrainer), ("es", ESGRPOConfig, ESGRPOTrainer)):
        own = {} if name == "trl" else {"micro_batches": "completions"}
        args = config(str(folder / name), **{**LAB_ARGS, "max_completion_length": 6, **changes, **own})
        trainer = trainer_class(tiny_model("llama"), digits, args, PROMPTS, None, tiny_tokenizer(), *positional)
        trainer.train(None, None)
        found.append(trainer.model.state_dict())
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"max_completion_length": None, "generation_kwargs": {"max_new_tokens": 5}},
        {"num_generations": np.int64(4), "max_steps": np.int64(8), "learning_rate": np.float64(1e-3)},
        {"per_device_train_batch_size": np.int32(4), "steps_per_generation": np.int64(4), "temperature": np.float32(1)},
    ],
    ids=["as it is", "no longest completion", "numpy", "numpy geometry"],
)
def test_runs_are_equal_bit_for_bit(changes, tmp_path):
    plain = {name: value.item() if isinstance(value, np.generic) else value for name, value in changes.items()}
    expected, _ = both(tmp_path / "plain", plain)
    own = {"max_completion_length": 6, "micro_batches": "completions"}
    args = ESGRPOConfig(str(tmp_path / "es"), **{**LAB_ARGS, **own, **changes})
    trainer = ESGRPOTrainer(tiny_model("llama"), digits, args, PROMPTS, processing_class=tiny_tokenizer())
    trainer.train()
    weights = trainer.model.state_dict()
    assert weights.keys() == expected.keys()
    assert [name for name, value in weights.items() if not torch.equal(value, expected[name])] == []


def test_everything_can_be_given_by_position(tmp_path):
    names = list(inspect.signature(GRPOTrainer.__init__).parameters)[6:]
    assert by_name(tuple(range(3)), {"tools": 7}) == {**dict(zip(names, range(3), strict=False)), "tools": 7}
    for more, named, message in (((1,), {names[0]: 2}, "by position and by name"), ((1,) * 20, {}, "at most 14")):
        with pytest.raises(TypeError, match=message):
            by_name(more, named)
    seen = []

    class Onlooker(TrainerCallback):
        def on_train_begin(self, *args, **kwargs):
            seen.append(True)

    optimizers = (None, None)
    trl, es = both(tmp_path, {}, positional=(None, [Onlooker()], optimizers, None, None, None, None, None))
    assert len(seen) == 2 and all(torch.equal(value, trl[name]) for name, value in es.items())


def test_the_default_folder_is_the_models(tmp_path, monkeypatch):
    monkeypatch.setattr(arguments, "ESGRPOConfig", lambda folder: folder)  # its default, bf16, needs a GPU
    model = tiny_model("llama")
    model.save_pretrained(tmp_path / "tiny")
    for given in ("someone/tiny", str(tmp_path / "tiny"), type(model).from_pretrained(tmp_path / "tiny")):
        assert configuration(None, given) == "tiny-ES-GRPO"


def test_a_configuration_of_another_trainer_is_refused(tmp_path):
    args = TrainingArguments(str(tmp_path), use_cpu=True)
    with pytest.raises(ValueError, match="`args` must be an ESGRPOConfig, got TrainingArguments: give ESGRPOConfig"):
        ESGRPOTrainer(tiny_model("llama"), digits, args, PROMPTS)


def test_what_transformers_refuses_is_said_in_its_words(lab_args):
    with pytest.raises(ValueError, match="fp16 and bf16|At most one of"):
        lab_args(bf16=True, fp16=True)


@pytest.mark.parametrize("rows", [3, 0])
def test_too_little_data_is_refused_when_training_begins(rows, lab_args):
    data = countdown_dataset(8, seed=1).select(range(rows))
    trainer = ESGRPOTrainer(BASE_MODEL, countdown_reward, lab_args(), data, countdown_dataset(4, seed=2))
    assert "eval_loss" in trainer.evaluate()
    with pytest.raises(ValueError, match=f"has {rows} prompts but one rollout takes 4: set steps"):
        trainer.train()


def test_stages_take_numpy_numbers():
    stage = Stage(0.5, num_generations=np.int64(8), max_completion_length=np.int32(16))
    assert type(stage.num_generations) is int and stage == Stage(0.5, num_generations=8, max_completion_length=16)


@pytest.mark.parametrize(
    "changes", [{"overlong_cache": 4}, {"curriculum": [{"start": 0.5, "num_generations": 8}], "prompts": 16}]
)
def test_what_goes_by_the_longest_completion_needs_one(changes, lab_trainer):
    with pytest.raises(ValueError, match="max_completion_length"):
        lab_trainer(max_completion_length=None, **changes)


@pytest.mark.slow
def test_masked_completions_hold_the_control(lab_trainer, tmp_path):
    """Rollouts whose completions are all truncated and masked move nothing; one after the other ends the run."""
    changes = {"mask_truncated_completions": True, "max_completion_length": 2}
    off = lab_trainer(**changes)
    off.train()
    assert [record["entropy"] for record in off.history.records] == [None, None]
    held = lab_trainer(**changes, **BONUS)
    held.train()
    assert [record["control"] for record in held.history.records] == [0.0, 0.0]
    assert [event["kind"] for record in held.history.records for event in record["events"]] == ["unmeasured"] * 2
    with pytest.raises(ValueError, match="no completion token was left to measure in 5 rollouts in a row"):
        lab_trainer(**{**changes, "max_steps": 24}, **BONUS).train()
