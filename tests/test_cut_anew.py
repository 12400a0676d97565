"""A run that is continued inside a rollout with other settings cuts the rest of the rollout anew."""

import pytest
import torch
from compared_runs import relative_error
from equal_updates import ARGS, MODELS, Case, InjectedRollouts, Recorder, prompts, reward_of
from tiny_models import tiny_tokenizer
from transformers import AutoModelForCausalLM

from es_trl import ESGRPOConfig, ESGRPOTrainer


class Sized(ESGRPOTrainer):
    """Keeps the tokens of the completions in every backward pass."""

    def _actuated_loss(self, model, inputs, *args):
        if torch.is_grad_enabled():
            self.sizes = [*getattr(self, "sizes", []), int(inputs["completion_mask"].sum())]
        return super()._actuated_loss(model, inputs, *args)


def run(folder, resume=None, **changes):
    """Train 2 updates per rollout, with a checkpoint after each; return the gradients and the trainer."""
    torch.manual_seed(0)
    if not (folder / "model").exists():
        AutoModelForCausalLM.from_config(MODELS["llama"]()).save_pretrained(folder / "model")
    own = {"gradient_accumulation_steps": 4, "steps_per_generation": 8, "max_steps": 4}
    saves = {"save_strategy": "steps", "save_steps": 1}
    args = ESGRPOConfig(**{**ARGS, "output_dir": str(folder / "run"), **own, **saves, **changes})
    recorder = Recorder()
    trainer = Sized(
        str(folder / "model"),
        reward_of(Case()),
        args,
        prompts(64),
        processing_class=tiny_tokenizer(),
        callbacks=[recorder],
        rollout_func=InjectedRollouts(Case()),
    )
    trainer.train(resume_from_checkpoint=resume and str(folder / "run" / resume))
    return recorder.gradients, trainer


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"loss_type": "bnpo"},
        {"model_init_kwargs": {"dtype": "float32", "attn_implementation": "eager"}},
        {"shared_prefixes": True},
        {"max_tokens_per_micro_batch": 64},
    ],
    ids=["a loss that couples", "another attention", "shared", "budget"],
)
def test_the_rest_of_a_rollout_is_as_with_trls_micro_batches(changes, tmp_path):
    found = []
    for name, own in (("tokens", {}), ("completions", {"micro_batches": "completions"})):
        (tmp_path / name).mkdir()
        run(tmp_path / name, **own)
        if own:
            changes = {"loss_type": changes.get("loss_type", "dapo"), **own}
        found.append(run(tmp_path / name, "checkpoint-1", **changes)[0])
    assert relative_error(found[1][0], found[0][0]) < 1e-5


@pytest.mark.slow
def test_a_lower_budget_holds_from_the_next_update(tmp_path):
    run(tmp_path)
    _, before = run(tmp_path, "checkpoint-1")
    _, after = run(tmp_path, "checkpoint-1", max_tokens_per_micro_batch=32)
    assert len(after.sizes) > len(before.sizes) and sum(after.sizes) == sum(before.sizes)
    # 32 tokens with prompts, so that a micro-batch holds 2 short completions or a long one alone
    assert max(after.sizes) <= 32 < max(before.sizes)
