"""Every collective of a short run of `GRPOTrainer`, and of `ESGRPOTrainer`, by name and bytes.

Launched by test_distributed.py: `accelerate launch ... collectives_worker.py OPTIONS_JSON`.
"""

import json
import sys
from dataclasses import fields

import torch
from distributed_worker import finish
from trl import GRPOConfig, GRPOTrainer

from es_trl import ESGRPOConfig, ESGRPOTrainer
from es_trl.lab import BASE_MODEL, countdown_dataset, countdown_reward


COLLECTIVES = ("all_reduce", "all_gather_into_tensor", "all_gather", "broadcast", "reduce", "gather", "barrier")
COLLECTIVES += ("all_gather_object", "gather_object", "broadcast_object_list", "reduce_scatter_tensor", "all_to_all")


def count(calls):
    """Write down every collective that Python asks for; those of DistributedDataParallel's gradients are C++."""
    for name in COLLECTIVES:
        original = getattr(torch.distributed, name)

        def counted(*args, _name=name, _original=original, **kwargs):
            tensor = next((value for value in args if isinstance(value, torch.Tensor)), None)
            calls.append([_name, 0 if tensor is None else tensor.nbytes])
            return _original(*args, **kwargs)

        setattr(torch.distributed, name, counted)


def main():
    options = json.loads(sys.argv[1])
    calls, found = [], {}
    trl_fields = {field.name for field in fields(GRPOConfig)}
    plain = {name: value for name, value in options.items() if name in trl_fields}
    count(calls)
    for trainer_class, args in ((GRPOTrainer, GRPOConfig(**plain)), (ESGRPOTrainer, ESGRPOConfig(**options))):
        trainer = trainer_class(BASE_MODEL, countdown_reward, args, train_dataset=countdown_dataset(32, seed=1))
        calls.clear()
        trainer.train()
        found[trainer_class.__name__] = list(calls)
    finish(trainer.accelerator, options["output_dir"], found)


if __name__ == "__main__":
    main()
