"""A lab run whose completions depend on prompt and place alone, so that they are the same on any number of processes.

Launched by test_distributed.py: `accelerate launch ... distributed_worker.py OPTIONS_JSON`. Every process writes its
records and a checksum of its weights to `rank<N>.json` in the output folder.
"""

import json
import os
import random
import sys
from pathlib import Path

import fsdp_on_cpu  # noqa: F401
import torch


torch.set_num_threads(1)
from es_trl import ESGRPOConfig, ESGRPOTrainer  # noqa: E402
from es_trl.lab import BASE_MODEL, countdown_dataset, countdown_reward  # noqa: E402


def write_by_rule(prompts, trainer):
    """Completions drawn from a generator that is seeded by the prompt, the place in its group and the step."""
    tokenizer = trainer.processing_class
    completions = []
    for place, prompt in enumerate(prompts, start=trainer.accelerator.process_index * len(prompts)):
        rng = random.Random(f"{prompt}|{place % trainer.num_generations}|{trainer.state.global_step}")
        text = "".join(rng.choice("123456789+-*") for _ in range(rng.randint(2, 9)))
        completions.append([*tokenizer(text)["input_ids"], tokenizer.eos_token_id])
    return {"prompt_ids": tokenizer(prompts)["input_ids"], "completion_ids": completions, "logprobs": None}


def reward_by_rule(completions, **kwargs):
    """The share of `+`: unlike the task's reward it differs between random completions."""
    return [text.count("+") / len(text) for text in completions]


def finish(accelerator, folder, result):
    """Write what this process found, and end it."""
    (Path(folder) / f"rank{accelerator.process_index}.json").write_text(json.dumps(result))
    accelerator.wait_for_everyone()
    sys.stdout.flush()
    os._exit(0)  # gloo's threads can abort a process that finalises, after all work is done


def main():
    options = json.loads(sys.argv[1])
    resume = options.pop("resume_from", None)
    by_rule = options.pop("by_rule")
    args = ESGRPOConfig(**options)
    datasets = {"train": countdown_dataset(32, seed=1), "hard": countdown_dataset(32, seed=2, num_numbers=(4,))}
    asked = []

    def reward(prompts, **kwargs):
        asked.append(prompts)
        return (reward_by_rule if by_rule else countdown_reward)(**kwargs)

    trainer = ESGRPOTrainer(
        BASE_MODEL,
        reward,
        args,
        train_dataset=datasets if args.curriculum else datasets["train"],
        rollout_func=write_by_rule if by_rule else None,
    )
    trainer.train(resume_from_checkpoint=resume)
    state = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    sizes = [getattr(p, "ds_tensor", p).numel() for p in trainer.model_wrapped.parameters()]
    result = {
        "world": trainer.accelerator.num_processes,
        "backend": torch.distributed.get_backend() if torch.distributed.is_initialized() else None,
        "wrapper": type(trainer.model_wrapped).__name__,
        "parameters_held": sum(sizes),
        "prompts": asked,
        "records": trainer.history.records,
        "settings": [trainer.epsilon_low, trainer.epsilon_high, trainer._actuation.settings.get("entropy_bonus", 0.0)],
        "weights": None if state is None else sum(value.double().abs().sum().item() for value in state.values()),
    }
    finish(trainer.accelerator, args.output_dir, result)


if __name__ == "__main__":
    main()
