"""Dynamic sampling and early exit on several processes, with other lengths and with uniform rewards at random.

Launched by test_sampling_distributed.py: `accelerate launch ... sampling_worker.py OPTIONS_JSON`. Each example is a run
of two rollouts; every process draws the same examples, and compares its records with those of the others.
"""

import json
import random
import sys

from accelerate import Accelerator
from accelerate.utils import gather_object
from distributed_worker import finish
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from lab_runs import LAB_ARGS, without_seconds

from es_trl import ESGRPOConfig, ESGRPOTrainer
from es_trl.lab import BASE_MODEL, countdown_dataset


OUTCOMES = []
RUN = {"max_steps": 4, "steps_per_generation": 2, "per_device_train_batch_size": 4, "gradient_accumulation_steps": 1}
CONTROL = {"entropy_schedule": {"kind": "constant", "target": 0.5}}


def rewards(share_uniform, seed):
    """A reward by which each prompt, at each asking, is uniform with a chance of `share_uniform`."""
    asked = 0

    def reward(prompts, completions, **kwargs):
        nonlocal asked
        asked += 1
        uniform = [random.Random(f"{seed}|{prompt}|{asked}").random() < share_uniform for prompt in prompts]
        return [0.0 if same else sum(map(ord, text)) % 5.0 for same, text in zip(uniform, completions, strict=True)]

    return reward


@settings(max_examples=12, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    generations=st.sampled_from([4, 2, 8]),
    tries=st.sampled_from([3, 1, 0]),
    longest=st.sampled_from([12, 4, 2]),
    share_uniform=st.sampled_from([0.4, 0.2, 0.6]),
    seed=st.integers(0, 5),
    exits=st.booleans(),
)
@example(generations=4, tries=1, longest=12, share_uniform=1.0, seed=0, exits=False)
@example(generations=4, tries=3, longest=12, share_uniform=0.2, seed=0, exits=True)
def check(folder, generations, tries, longest, share_uniform, seed, exits):
    sizes = {"num_generations": generations, "max_completion_length": longest, "dynamic_sampling_tries": tries}
    # an odd number of early completions cannot be shared equally by the processes for an odd number of prompts
    sizes |= {"early_generations": generations - 1, "early_pass_rates": [0.0, 0.9]} if exits else {}
    args = ESGRPOConfig(**{**LAB_ARGS, **RUN, **CONTROL, **sizes, "output_dir": folder, "seed": seed})
    trainer = ESGRPOTrainer(BASE_MODEL, rewards(share_uniform, seed), args, train_dataset=countdown_dataset(64, seed))
    ended = "trained"
    try:
        trainer.train()
    except ValueError as error:
        expected = "has no prompt with a pass rate" if exits else "has no prompt whose completions got different"
        assert (tries or exits) and expected in str(error), error
        ended = "nothing to learn"
    records = without_seconds(trainer.history.records)
    assert len(records) == 2 or ended != "trained"
    everyone = gather_object([[ended, records]])
    assert all(one == everyone[0] for one in everyone), everyone
    replaced = sum(record["sampling"]["fresh_prompts"] for record in records) if tries else 0
    masked = sum(record["sampling"]["masked_prompts"] for record in records) if tries else 0
    left = sum(record["early_exit"]["left"] for record in records) if exits else 0
    OUTCOMES.append({"ended": ended, "tries": tries, "replaced": replaced, "masked": masked, "left": left})


def main():
    options = json.loads(sys.argv[1])
    check(options["output_dir"])
    finish(Accelerator(), options["output_dir"], OUTCOMES)


if __name__ == "__main__":
    main()
