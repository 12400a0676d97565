"""A run that vLLM samples goes on as if its evaluations had not been."""

import pytest
import torch
from conftest import DATASETS, EXACT
from lab_runs import BONUS, without_seconds
from peft import LoraConfig

from es_trl.lab import countdown_dataset


ADAPTER = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
# four evaluations inside a rollout, and at updates 12 and 16 one after its end
RUN = {**BONUS, "max_steps": 16, "learning_rate": 5e-3, "num_generations_eval": 8, "per_device_eval_batch_size": 16}
EVAL = {"eval_strategy": "steps", "eval_steps": 3, "eval_pass_at_k": [1, 8]}
# some of training's own, whose prompts the engine may keep in its cache
PROBLEMS = {"seen": DATASETS["train"].select(range(9)), "other": countdown_dataset(5, seed=9)}


def run(vllm_trainer, peft_config=None, **changes):
    """A finished run: its records, its weights and the evaluations in its log."""
    trainer = vllm_trainer(peft_config=peft_config, eval_dataset=PROBLEMS, **{**RUN, **changes})
    trainer.train()
    passes = [line["eval_other_pass@1"] for line in trainer.state.log_history if "eval_other_pass@1" in line]
    return without_seconds(trainer.history.records), trainer.model.state_dict(), passes


def assert_equal(evaluated, plain):
    (records, weights, passes), (expected, before, none) = evaluated, plain
    assert len(passes) == 6 and none == []
    assert records == expected and max(record["logp_difference"] for record in records) < EXACT
    assert [name for name, weight in weights.items() if not torch.equal(weight, before[name])] == []


@pytest.mark.parametrize("peft_config", [None, ADAPTER], ids=["all_weights", "adapter"])
def test_evaluations_leave_no_trace(peft_config, vllm_trainer):
    vllm_trainer()  # the engine of all trainers, whose start sets the random states
    evaluated = run(vllm_trainer, peft_config, **EVAL)
    assert_equal(evaluated, run(vllm_trainer, peft_config))


def test_completions_of_a_problem_differ_and_two_evaluations_agree(vllm_trainer):
    trainer = vllm_trainer(eval_dataset=PROBLEMS, **RUN, eval_pass_at_k=[1, 8])
    one, other = ({n: v for n, v in trainer.evaluate().items() if "pass" in n} for _ in range(2))
    assert one == other and 0.0 < one["eval_seen_pass@1"] < one["eval_seen_pass@8"] <= 1.0
