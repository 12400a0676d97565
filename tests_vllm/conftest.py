"""Real vLLM on a CPU. Its own environment: `make test-vllm`."""

import os
import sys
from pathlib import Path


# before torch and vLLM
os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
os.environ |= {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
os.environ["TORCHDYNAMO_DISABLE"] = "1"  # vLLM's sampler would be compiled, which takes longer than these runs
sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

import cpu_engine
import pytest
import torch
from lab_runs import LAB_ARGS

from es_trl import ESGRPOConfig, ESGRPOTrainer
from es_trl.lab import BASE_MODEL, countdown_dataset


torch.set_num_threads(1)
cpu_engine.adapt()

VLLM_ARGS = {
    **LAB_ARGS,
    "use_vllm": True,
    "vllm_mode": "colocate",
    "vllm_max_model_length": 32,
    "vllm_importance_sampling_mode": "token_truncate",
}
# nats between the log-probabilities of engine and trainer, which both compute in float32
EXACT, STALE = 1e-4, 0.05
DATASETS = {"train": countdown_dataset(64, seed=1), "hard": countdown_dataset(64, seed=2, num_numbers=(4,))}


def share_of_pluses(completions, **kwargs):
    """Unlike the task's reward it differs between completions of any length."""
    return [text.count("+") / max(len(text), 1) for text in completions]


def forget_the_engine():
    """TRL tells vLLM its place by variables that Accelerate would take for a launch of several processes."""
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE"):
        os.environ.pop(name, None)


def pytest_collection_modifyitems(items):
    """Leave evaluations to the end: their engines take along vLLM's process groups, which the trainers need."""
    items.sort(key=lambda item: item.path.stem == "test_vllm_evaluation")


@pytest.fixture
def vllm_trainer(tmp_path):
    """A function that makes a trainer on the lab that samples with vLLM, with changes of its configuration."""

    def make(trainer_class=ESGRPOTrainer, peft_config=None, eval_dataset=None, **changes):
        forget_the_engine()
        args = ESGRPOConfig(**{"output_dir": str(tmp_path / "run"), **VLLM_ARGS, **changes})
        datasets = DATASETS if args.curriculum else DATASETS["train"]
        data = {"train_dataset": datasets, "eval_dataset": eval_dataset}
        return trainer_class(BASE_MODEL, share_of_pluses, args, **data, peft_config=peft_config)

    yield make
    forget_the_engine()
