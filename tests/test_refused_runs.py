"""Runs that are refused before weights load."""

import pytest
from datasets import Dataset

from es_trl import (
    ESGRPOTrainer,
)
from es_trl.lab import countdown_dataset, countdown_reward


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"use_adaptive_entropy": True}, "must be false when another controller"),
        ({"entropy_actuator": "clip", "loss_type": "sapo"}, "no authority with loss_type"),
        (
            {"entropy_actuator": "clip", "steps_per_generation": 1, "per_device_train_batch_size": 16},
            "1 update per rollout",
        ),
        ({"entropy_actuator": ["entropy_bonus", "kl_coef"]}, "kl_coef has no authority with beta=0.*set beta"),
        ({"entropy_actuator": ["clip", "clip"]}, "not repeat an actuator, got ClipActuator, ClipActuator: name each"),
    ],
)
def test_refused_before_weights_load(changes, message, lab_args):
    args = lab_args(entropy_schedule={"kind": "constant", "target": 0.4}, **changes)
    with pytest.raises(ValueError, match=message):
        ESGRPOTrainer("no/such/model", countdown_reward, args, train_dataset=countdown_dataset(64, seed=1))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({"promt": ["1 2=3:"] * 8}, "must have a column 'prompt', got promt: .* did you mean 'promt'"),
        ({}, "must have a column 'prompt', got none"),
    ],
)
def test_unfit_data_is_refused_before_weights_load(rows, message, lab_args):
    with pytest.raises(ValueError, match=message):
        ESGRPOTrainer("no/such/model", countdown_reward, lab_args(), train_dataset=Dataset.from_dict(rows))
