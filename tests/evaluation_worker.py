"""An evaluation whose completions depend on prompt and place alone, on any number of processes.

Launched by test_evaluation_distributed.py. Every process writes its metrics to `rank<N>.json` in the output folder.
"""

import json
import sys

from distributed_worker import finish, write_by_rule

from es_trl import ESGRPOConfig, ESGRPOTrainer
from es_trl.lab import BASE_MODEL, countdown_dataset


def has_plus(completions, **kwargs):
    return [float("+" in text) for text in completions]


def main():
    options = json.loads(sys.argv[1])
    problems, ks = options.pop("problems"), (1, 4)
    args = ESGRPOConfig(**options, eval_pass_at_k=list(ks))
    data = {"train_dataset": countdown_dataset(32, seed=1), "eval_dataset": countdown_dataset(problems, seed=2)}
    trainer = ESGRPOTrainer(BASE_MODEL, has_plus, args, **data, rollout_func=write_by_rule)
    metrics = trainer.evaluate()
    trainer.train()
    result = {"metrics": metrics, "records": trainer.history.records, "log": trainer.state.log_history}
    finish(trainer.accelerator, args.output_dir, result)


if __name__ == "__main__":
    main()
