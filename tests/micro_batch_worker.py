"""Runs on injected completions in one launch, and what each process did in every update.

Launched by test_micro_batches_distributed.py: `accelerate launch ... micro_batch_worker.py OPTIONS_JSON`. Every process
writes what it found to `rank<N>.json` in the output folder, and the first one the weights to `<run>.safetensors`.
"""

import json
import sys
from collections import Counter
from pathlib import Path

import fsdp_on_cpu  # noqa: F401
import torch
from distributed_worker import finish
from equal_updates import LONGEST, Case, prompts, reward_of
from safetensors.torch import save_file
from tiny_models import SIZES, tiny_tokenizer
from transformers import TrainerCallback

from es_trl import ESGRPOConfig, ESGRPOTrainer
from es_trl.trainer.forward import backbone_of


torch.set_num_threads(1)


class Written:
    """Completions that depend on the process and on the number of earlier calls.

    Their lengths have a long tail. With `uneven`, those of process 0 are all short and those of the others all long.
    """

    def __init__(self, uneven):
        self.uneven, self.calls = uneven, 0

    def __call__(self, prompts, trainer):
        process = trainer.accelerator.process_index
        random = torch.Generator().manual_seed(100 * self.calls + process)
        self.calls += 1
        if self.uneven:
            lengths = torch.randint(1, 4, (len(prompts),), generator=random) + (LONGEST - 4) * (process > 0)
        else:
            lengths = (torch.randn(len(prompts), generator=random) * 0.9 + 1.3).exp().round().clamp(1, LONGEST).int()
        ids = [torch.randint(3, SIZES["vocab_size"], (n,), generator=random).tolist() for n in lengths.tolist()]
        completions = [[*each[:-1], SIZES["eos_token_id"]] if len(each) < LONGEST else each for each in ids]
        prompt_ids = trainer.processing_class(text=prompts)["input_ids"]
        return {"prompt_ids": prompt_ids, "completion_ids": completions, "logprobs": None}


class Counts(TrainerCallback):
    """Counts, for every update: forward passes with and without gradient, their tokens, and gradient reductions."""

    def __init__(self):
        self.updates = [Counter()]

    def watch(self, trainer):
        model = trainer.accelerator.unwrap_model(trainer.model)
        backbone_of(model).register_forward_pre_hook(self._forward, with_kwargs=True)
        if trainer.ref_model is not None:
            reference = trainer.accelerator.unwrap_model(trainer.ref_model)
            backbone_of(reference).register_forward_pre_hook(self._forward, with_kwargs=True)
        own = torch.distributed.reduce_scatter_tensor

        def reduced(*args, **kwargs):
            self.updates[-1]["reduce_scatters"] += 1
            return own(*args, **kwargs)

        torch.distributed.reduce_scatter_tensor = reduced
        return self

    def on_train_begin(self, args, state, control, **kwargs):
        wrapped = self.trainer.model_wrapped
        if isinstance(wrapped, torch.nn.parallel.DistributedDataParallel):
            wrapped.register_comm_hook(None, self._reduce)

    def on_step_end(self, args, state, control, **kwargs):
        self.updates.append(Counter())

    def _forward(self, module, args, kwargs):
        kind = "passes" if torch.is_grad_enabled() else "scoring"
        self.updates[-1][kind] += 1
        self.updates[-1][f"{kind}_tokens"] += kwargs["input_ids"].numel()

    def _reduce(self, state, bucket):
        self.updates[-1]["reduces"] += bucket.is_last()
        return torch.distributed.all_reduce(bucket.buffer(), async_op=True).get_future().then(self._mean)

    @staticmethod
    def _mean(future):
        return future.value()[0] / torch.distributed.get_world_size()


def trained(name, run, folder, model):
    written = Written(run.pop("uneven", False))
    resume = run.pop("resume_from", None)
    counts = Counts()
    trainer = ESGRPOTrainer(
        model,
        reward_of(Case()),
        ESGRPOConfig(**{"output_dir": str(folder / name), **run}),
        prompts(64),
        processing_class=tiny_tokenizer(),
        callbacks=[counts],
        rollout_func=written,
    )
    counts.trainer = trainer
    own = torch.distributed.reduce_scatter_tensor
    counts.watch(trainer)
    trainer.train(resume_from_checkpoint=resume)
    torch.distributed.reduce_scatter_tensor = own
    state = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    if trainer.accelerator.is_main_process:
        weights = {key: value.detach().cpu().float().contiguous().clone() for key, value in state.items()}
        save_file(weights, folder / f"{name}.safetensors")
    return {
        "wrapper": type(trainer.model_wrapped).__name__,
        "steps": getattr(trainer.model_wrapped, "global_steps", None),
        "updates": counts.updates[:-1],
        "logged": trainer.state.log_history,
        "records": trainer.history.records,
    }


def main():
    options = json.loads(sys.argv[1])
    folder, found = Path(options["output_dir"]), {}
    accelerator = None
    for name, run in options["runs"].items():
        found[name] = trained(name, run, folder, options["model"])
    from accelerate import Accelerator

    accelerator = Accelerator()
    finish(accelerator, folder, found)


if __name__ == "__main__":
    main()
