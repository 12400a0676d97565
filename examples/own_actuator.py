"""A custom actuator: a bonus for the surprise of a token, which needs no gradient through the entropy.

The surprise of a token is its negative log-probability. Its expected value is the entropy at this position. So a token
with more surprise than the entropy gets a higher advantage (REINFORCE on the entropy). The actuator needs only the
log-probabilities of the sampled tokens.

Run it (half a minute on a CPU): `python examples/own_actuator.py`
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
    """Actuator whose control, from `low` to `high`, is the advantage per nat of surprise above the entropy."""

    low: float = -1.0
    high: float = 1.0

    def settings(self, control: float, args: ESGRPOConfig) -> dict[str, float]:
        return {"surprise": control}  # any name will do; a larger control must mean more entropy

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
