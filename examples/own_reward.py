"""A custom reward in addition to that of the lab, with an entropy schedule.

Run it (half a minute on a CPU): `python examples/own_reward.py`
"""

import torch

from es_trl import ESGRPOTrainer
from es_trl.lab import BASE_MODEL, countdown_dataset, countdown_reward
from es_trl.lab.config import lab_config
from es_trl.tracking.history import summarize


def in_order(completions: list[str], numbers: list[list[int]], **kwargs: object) -> list[float]:
    """Return 1 for each completion that uses the numbers in the order of the prompt, and 0 for each other one."""
    digits = [[int(char) for char in text if char.isdecimal()] for text in completions]
    return [float(own == given) for own, given in zip(digits, numbers, strict=True)]


def main() -> None:
    torch.set_num_threads(1)
    args = lab_config(
        "runs/own_reward",
        rollouts=30,
        reward_weights=[1.0, 2.0],
        entropy_schedule={"kind": "stable_anneal", "target": 0.35, "end": 0.2, "ratio": 0.3},
    )
    rewards = [countdown_reward, in_order]
    trainer = ESGRPOTrainer(BASE_MODEL, rewards, args, train_dataset=countdown_dataset(2000, seed=1))
    trainer.train()
    print(summarize(trainer.history.records))
    logs = [log for log in trainer.state.log_history if "rewards/in_order/mean" in log]  # one log per 10 rollouts
    for name in ("countdown_reward", "in_order"):
        first, last = (log[f"rewards/{name}/mean"] for log in (logs[0], logs[-1]))
        print(f"{name:<17} {first:.3f} -> {last:.3f}")


if __name__ == "__main__":
    main()
