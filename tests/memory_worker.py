"""A lab run of two updates that counts the bytes which each process really holds: weights, gradients, optimizer.

Launched by test_measured_memory.py: `accelerate launch ... memory_worker.py OPTIONS_JSON`. Every process writes its
counts to `rank<N>.json` in the output folder.
"""

import json
import sys

from distributed_worker import finish  # first: it keeps DeepSpeed from compiling
from transformers import TrainerCallback

from es_trl import ESGRPOConfig, ESGRPOTrainer
from es_trl.lab import BASE_MODEL, countdown_dataset, countdown_reward


def size(tensors):
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def moments(optimizer):
    """The optimizer's own tensors, without its counters of steps."""
    return [t for state in optimizer.state.values() for name, t in state.items() if name.startswith("exp_avg")]


class Count(TrainerCallback):
    """Counts before the last step of the optimizer, when the gradients are there."""

    def __init__(self, trainer):
        self.trainer, self.bytes = trainer, {}

    def on_step_begin(self, args, state, control, **kwargs):
        zero = getattr(self.trainer.model_wrapped, "optimizer", None)
        if zero is not None and state.global_step == 0:
            step, self.step = zero.step, zero.step
            zero.step = lambda *a, **k: (self.count(zero), step(*a, **k))[1]

    def on_pre_optimizer_step(self, args, state, control, **kwargs):
        model, optimizer = self.trainer.model_wrapped, kwargs["optimizer"]
        if not self.trainer.is_deepspeed_enabled:
            gradients = [p.grad for p in model.parameters() if p.grad is not None]
            self.bytes = {"gradients": size(gradients), "optimizer": size(moments(optimizer))}

    def count(self, zero):
        if hasattr(zero, "fp32_partitioned_groups_flat"):
            masters, gradients = zero.fp32_partitioned_groups_flat, [zero.grad_partitions_flat_buffer]
        else:
            masters = zero.single_partition_of_fp32_groups
            gradients = [g for group in zero.averaged_gradients.values() for g in group]
        self.bytes = {"gradients": size(gradients), "optimizer": size([*masters, *moments(zero.optimizer)])}


def run(args, peft_config):
    """Train, and return the counts of this process with the trainer's accelerator."""
    trainer = ESGRPOTrainer(
        BASE_MODEL, countdown_reward, args, train_dataset=countdown_dataset(32, seed=1), peft_config=peft_config
    )
    count = Count(trainer)
    trainer.add_callback(count)
    trainer.train()
    weights = size(getattr(p, "ds_tensor", p) for p in trainer.model_wrapped.parameters())
    return {"weights": weights, **count.bytes}, trainer.accelerator


def lora(rank):
    """A peft config for every linear map, or `None`."""
    if rank is None:
        return None
    from peft import LoraConfig

    return LoraConfig(r=rank, target_modules="all-linear", task_type="CAUSAL_LM")


def main():
    options = json.loads(sys.argv[1])
    dtype, rank = options.pop("dtype"), options.pop("lora_r")
    args = ESGRPOConfig(**options, model_init_kwargs={"dtype": dtype})
    counted, accelerator = run(args, lora(rank))
    finish(accelerator, args.output_dir, counted)


if __name__ == "__main__":
    main()
