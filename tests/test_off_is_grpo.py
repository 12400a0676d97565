"""Blocks that move nothing leave GRPO's weights, bit for bit where TRL's micro-batches are kept."""

import copy

import pytest
import torch
from lab_runs import BONUS, LAB_ARGS
from trl import GRPOConfig, GRPOTrainer

from es_trl.lab import BASE_MODEL, countdown_dataset, countdown_reward


STILL = [  # blocks that never move anything
    {},
    {
        "entropy_schedule": {"kind": "constant", "target": 0.4},
        "entropy_controller": {"kind": "sign_step", "warmup": 9},
        "entropy_actuator": "clip_high",
    },
    {
        "entropy_schedule": {"kind": "stable_anneal", "target": 0.4, "end": 0.1, "ratio": 0.5},
        "entropy_controller": {"kind": "pid", "kp": 0.0, "ki": 0.0},
        "entropy_actuator": {"kind": "clip"},
    },
    {
        "entropy_schedule": {"kind": "cosine", "start": 1.0, "end": 0.1, "relative": True},
        "entropy_controller": {"kind": "pid", "kp": 0.0, "ki": 0.0},
        "entropy_actuator": {"kind": "entropy_bonus"},
    },
]


@pytest.fixture(scope="module")
def grpo_weights(tmp_path_factory):
    args = GRPOConfig(output_dir=str(tmp_path_factory.mktemp("grpo")), **LAB_ARGS)
    dataset = countdown_dataset(64, seed=1)
    trainer = GRPOTrainer(BASE_MODEL, countdown_reward, args, train_dataset=dataset)
    trainer.train()
    return copy.deepcopy(trainer.model.state_dict())


@pytest.mark.parametrize("blocks", STILL)
def test_off_is_grpo(blocks, grpo_weights, lab_trainer):
    trainer = lab_trainer(micro_batches="completions", **blocks)
    trainer.train()
    weights = trainer.model.state_dict()
    assert weights.keys() == grpo_weights.keys()
    assert all(torch.equal(weights[name], grpo_weights[name]) for name in weights)
    assert [record["rollout"] for record in trainer.history.records] == [0, 1]


def test_a_moving_block_moves_the_weights(grpo_weights, lab_trainer):
    trainer = lab_trainer(**BONUS)
    trainer.train()
    weights = trainer.model.state_dict()
    assert not all(torch.equal(weights[name], grpo_weights[name]) for name in weights)
