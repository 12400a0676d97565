import os


os.environ["OMP_NUM_THREADS"] = "1"  # before torch: two threads on two shared cores are many times slower
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import pytest
import torch

from es_trl import ESGRPOConfig, ESGRPOTrainer
from es_trl.lab import BASE_MODEL, countdown_dataset, countdown_reward


torch.set_num_threads(1)

# 4 prompts x 4 rollouts, 4 updates a rollout; the lab's base, small enough to train in tests
LAB_ARGS = {
    "per_device_train_batch_size": 4,
    "gradient_accumulation_steps": 1,
    "steps_per_generation": 4,
    "num_generations": 4,
    "max_completion_length": 12,
    "max_steps": 8,
    "learning_rate": 1e-3,
    "epsilon_high": 0.28,
    "top_k": 0,
    "logging_steps": 1,
    "save_strategy": "no",
    "report_to": "none",
    "use_cpu": True,
    "bf16": False,
    "gradient_checkpointing": False,
    "disable_tqdm": True,
    "seed": 3,
}
BONUS = {
    "entropy_schedule": {"kind": "constant", "target": 0.5},
    "entropy_controller": {"kind": "pid", "kp": 1.0, "ki": 0.1},
    "entropy_actuator": {"kind": "entropy_bonus", "low": -0.5, "high": 0.5},
}


@pytest.fixture
def lab_args(tmp_path):
    """A function that makes an `ESGRPOConfig` for the lab, with changes."""

    def make(config_class=ESGRPOConfig, **changes):
        return config_class(**{"output_dir": str(tmp_path / "run"), **LAB_ARGS, **changes})

    return make


@pytest.fixture
def lab_trainer(lab_args):
    """A function that makes a trainer on the lab, with changes of its configuration."""

    def make(trainer_class=ESGRPOTrainer, args=None, callbacks=None, reward=countdown_reward, prompts=64, **changes):
        return trainer_class(
            BASE_MODEL,
            reward,
            args or lab_args(**changes),
            train_dataset=countdown_dataset(prompts, seed=1),
            callbacks=callbacks,
        )

    return make


def without_seconds(records):
    """History records without the only field that differs between equal runs."""
    return [{name: value for name, value in record.items() if name != "seconds"} for record in records]
