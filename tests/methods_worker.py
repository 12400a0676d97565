"""Short runs of several methods in one launch, each with a resume from its middle.

Launched by test_methods_distributed.py: `accelerate launch ... methods_worker.py OPTIONS_JSON`. Every process writes
records and checksums of its weights to `rank<N>.json` in the output folder.
"""

import json
import sys

from distributed_worker import finish, reward_by_rule, write_by_rule

from es_trl import ESGRPOConfig, ESGRPOTrainer
from es_trl.lab import BASE_MODEL, countdown_dataset


def trained(options, checkpoint=None):
    trainer = ESGRPOTrainer(
        BASE_MODEL,
        reward_by_rule,
        ESGRPOConfig(**options),
        train_dataset=countdown_dataset(32, seed=1),
        rollout_func=write_by_rule,
    )
    trainer.train(resume_from_checkpoint=checkpoint)
    weights = sum(parameter.double().abs().sum().item() for parameter in trainer.model.parameters())
    return trainer, {"records": trainer.history.records, "weights": weights}


def main():
    options = json.loads(sys.argv[1])
    results = {}
    for name, run in options["runs"].items():
        folder = f"{options['output_dir']}/{name}"
        trainer, whole = trained({**run, "output_dir": folder})
        checkpoint = f"{folder}/checkpoint-{run['save_steps']}"
        _, resumed = trained({**run, "output_dir": f"{folder}_again"}, checkpoint)
        results[name] = {"whole": whole, "resumed": resumed}
    finish(trainer.accelerator, options["output_dir"], results)


if __name__ == "__main__":
    main()
