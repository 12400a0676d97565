"""Short lab runs in one launch, whose completions are the same however the processes share the work.

Launched by test_sharding.py: `accelerate launch ... sharded_worker.py OPTIONS_JSON`. Every process writes the records
of its runs to `rank<N>.json` in the output folder, and the first one the weights to `<run>.safetensors`.
"""

import json
import sys
from pathlib import Path

from distributed_worker import finish, reward_by_rule, write_by_rule
from peft import LoraConfig
from safetensors.torch import save_file

from es_trl import ESGRPOConfig, ESGRPOTrainer
from es_trl.lab import BASE_MODEL, countdown_dataset


def trained(name, run, folder):
    lora = LoraConfig(r=4, lora_alpha=8, target_modules="all-linear") if run.pop("lora", False) else None
    args = ESGRPOConfig(**run, output_dir=str(folder / name))
    datasets = {"train": countdown_dataset(32, seed=1), "hard": countdown_dataset(32, seed=2, num_numbers=(4,))}
    trainer = ESGRPOTrainer(
        BASE_MODEL,
        reward_by_rule,
        args,
        train_dataset=datasets if args.curriculum else datasets["train"],
        rollout_func=write_by_rule,
        peft_config=lora,
    )
    trainer.train()
    state = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    if trainer.accelerator.is_main_process:
        weights = {name: value.detach().cpu().float().contiguous().clone() for name, value in state.items()}
        save_file(weights, folder / f"{name}.safetensors")
    return trainer


def main():
    options = json.loads(sys.argv[1])
    folder = Path(options["output_dir"])
    found = {}
    for name, run in options["runs"].items():
        trainer = trained(name, run, folder)
        found[name] = {"wrapper": type(trainer.model_wrapped).__name__, "records": trainer.history.records}
    finish(trainer.accelerator, folder, found)


if __name__ == "__main__":
    main()
