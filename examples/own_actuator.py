"""An actuator of your own moves entropy: a bonus for surprise, without a gradient through the entropy.

The expected surprise of a token is the entropy at its position, so tokens that surprise more than that get a higher
advantage (REINFORCE on the entropy). It needs log-probabilities only of the tokens that were sampled.

Run it, half a minute on a CPU: `python examples/own_actuator.py`
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from es_trl import Actuator, EntropyScheduler, ESGRPOConfig, ESGRPOTrainer, SelfTunedPIDController, StableAnnealSchedule
from es_trl.actuators.batch import MicroBatch
from es_trl.lab import BASE_MODEL, countdown_dataset, countdown_reward
from es_trl.lab.config import lab_config
from es_trl.tracking.history import summarize


@dataclass(frozen=True)
class SurpriseBonus(Actuator):
    """Advantage per nat of surprise beyond the expected, from `low` to `high`."""

    low: float = -1.0
    high: float = 1.0

    def settings(self, control: float, args: ESGRPOConfig) -> dict[str, float]:
        return {"surprise": control}  # a name of its own; more of it means more entropy

    def advantages(self, batch: MicroBatch, settings: Mapping[str, float]) -> torch.Tensor:
        advantages = batch.inputs["advantages"]
        by_token = advantages.unsqueeze(1) if advantages.dim() == 1 else advantages
        return by_token + settings["surprise"] * (-batch.old_logps - batch.entropies.detach())


def main() -> None:
    torch.set_num_threads(1)
    schedule = StableAnnealSchedule(target=0.45, end=0.2, ratio=0.4)
    scheduler = EntropyScheduler(schedule, SelfTunedPIDController(), SurpriseBonus())
    args = lab_config("runs/own_actuator", rollouts=30)
    data = countdown_dataset(2000, seed=1)
    trainer = ESGRPOTrainer(BASE_MODEL, countdown_reward, args, train_dataset=data, callbacks=[scheduler])
    trainer.train()
    print(summarize(trainer.history.records, settling=10))


if __name__ == "__main__":
    main()
