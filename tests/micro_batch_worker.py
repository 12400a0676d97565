"""Short runs in one launch, and what each process did in every update of them.

Launched by test_micro_batches_distributed.py: `accelerate launch ... micro_batch_worker.py OPTIONS_JSON`. Every process
writes what it found to `rank<N>.json` in the output folder, and the first one the weights to `<run>.safetensors`.
"""

import functools
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
# FSDP2 reduces gradients with the first one of these that torch has
SCATTER = next(name for name in ("reduce_scatter_single", "reduce_scatter_tensor") if hasattr(torch.distributed, name))


def written(prompts, trainer, uneven=False):
    """
    Completions that depend on the process and on the number of earlier updates.

    Their lengths have a long tail. With `uneven`, those of process 0 are all short and those of the others all long.
    """
    process = trainer.accelerator.process_index
    random = torch.Generator().manual_seed(100 * trainer.state.global_step + process)
    if uneven:
        lengths = torch.randint(1, 4, (len(prompts),), generator=random) + (LONGEST - 4) * (process > 0)
    else:
        lengths = (torch.randn(len(prompts), generator=random) * 0.9 + 1.3).exp().round().clamp(1, LONGEST).int()
    ids = [torch.randint(3, SIZES["vocab_size"], (length,), generator=random).tolist() for length in lengths.tolist()]
    completions = [[*each[:-1], SIZES["eos_token_id"]] if len(each) < LONGEST else each for each in ids]
    return {
        "prompt_ids": trainer.processing_class(text=prompts)["input_ids"],
        "completion_ids": completions,
        "logprobs": None,
    }


class Counts(TrainerCallback):
    """Counts, for every update: forward passes with and without gradient, their tokens, and reduced gradients."""

    def __init__(self):
        self.updates = [Counter()]

    def watch(self, trainer):
        models = [trainer.model, *([] if trainer.ref_model is None else [trainer.ref_model])]
        for model in map(trainer.accelerator.unwrap_model, models):
            backbone = backbone_of(model)
            backbone.forward = self._counted(backbone.forward)
        if trainer.is_fsdp_enabled:
            setattr(torch.distributed, SCATTER, self._scattered(getattr(torch.distributed, SCATTER)))
        self.trainer = trainer

    def on_train_begin(self, args, state, control, **kwargs):
        wrapped = self.trainer.model_wrapped
        if isinstance(wrapped, torch.nn.parallel.DistributedDataParallel):
            wrapped.register_comm_hook(None, self._reduced)

    def on_step_end(self, args, state, control, **kwargs):
        self.updates.append(Counter())

    def _counted(self, forward):
        @functools.wraps(forward)
        def counted(*args, **kwargs):
            kind = "passes" if torch.is_grad_enabled() else "scoring"
            tokens = kwargs["input_ids"].numel()
            self.updates[-1].update({kind: 1, f"{kind}_tokens": tokens})
            self.updates[-1].setdefault("first", tokens)
            return forward(*args, **kwargs)

        return counted

    def _scattered(self, scatter):
        def counted(*args, **kwargs):
            self.updates[-1]["scatters"] += 1
            return scatter(*args, **kwargs)

        return counted

    def _reduced(self, state, bucket):
        self.updates[-1]["reduces"] += bucket.is_last()
        mean = bucket.buffer() / torch.distributed.get_world_size()
        return torch.distributed.all_reduce(mean, async_op=True).get_future().then(lambda future: future.value()[0])


def trained(name, run, folder, model):
    rollout_func = functools.partial(written, uneven=run.pop("uneven", False))
    generates, resume = run.pop("generates", False), run.pop("resume_from", None)
    reward, counts, completions = reward_of(Case()), Counts(), []

    def rewarded(completion_ids, **kwargs):
        completions.append(completion_ids)
        return reward(completion_ids=completion_ids, **kwargs)

    trainer = ESGRPOTrainer(
        model,
        rewarded,
        ESGRPOConfig(**run, output_dir=str(folder / name)),
        prompts(64),
        processing_class=tiny_tokenizer(),
        callbacks=[counts],
        rollout_func=None if generates else rollout_func,
    )
    scatter = getattr(torch.distributed, SCATTER)
    counts.watch(trainer)
    trainer.train(resume_from_checkpoint=None if resume is None else str(folder / resume))
    setattr(torch.distributed, SCATTER, scatter)
    state = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    if trainer.accelerator.is_main_process:
        weights = {key: value.detach().cpu().float().contiguous().clone() for key, value in state.items()}
        save_file(weights, folder / f"{name}.safetensors")
    return trainer.accelerator, {
        "steps": getattr(trainer.model_wrapped, "global_steps", None),
        "updates": counts.updates[:-1],
        "logged": trainer.state.log_history,
        "records": trainer.history.records,
        "completions": completions,
    }


def main():
    options = json.loads(sys.argv[1])
    folder, found = Path(options["output_dir"]), {}
    for name, run in options["runs"].items():
        accelerator, found[name] = trained(name, run, folder, options["model"])
    finish(accelerator, folder, found)


if __name__ == "__main__":
    main()
