"""Short runs with a curriculum, watched, for tests."""

import torch
from lab_runs import LAB_ARGS

from es_trl import ESGRPOConfig, ESGRPOTrainer
from es_trl.lab import BASE_MODEL, countdown_dataset, countdown_reward


ANNEAL = {"entropy_schedule": {"kind": "stable_anneal", "target": 0.5, "end": 0.2, "ratio": 0.5}}


SWITCH = {"start": "onset", "data": "hard", "num_generations": 8, "max_completion_length": 16}


DATASETS = {"train": countdown_dataset(64, seed=1), "hard": countdown_dataset(64, seed=2, num_numbers=(4,))}


class Watching(ESGRPOTrainer):
    """Keeps the prompts of every generation and what every backward pass saw."""

    def __init__(self, *args, **kwargs):
        self.prompts, self.passes = [], []
        super().__init__(*args, **kwargs)

    def _generate(self, prompts):
        self.prompts.append(list(prompts))
        return super()._generate(prompts)

    def _actuated_loss(self, model, inputs, *args):
        if torch.is_grad_enabled():
            self.passes.append({k: v.clone() for k, v in inputs.items()})
        return super()._actuated_loss(model, inputs, *args)


def make(tmp_path, name="run", datasets=DATASETS, reward=countdown_reward, callbacks=None, **changes):
    args = ESGRPOConfig(str(tmp_path / name), **{**LAB_ARGS, "max_steps": 24, **changes})
    return Watching(BASE_MODEL, reward, args, train_dataset=datasets, callbacks=callbacks)
