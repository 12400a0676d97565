"""Weights that are not finite end the run, and replace no checkpoint."""

import pytest
from lab_runs import BONUS
from transformers import TrainerCallback

from es_trl import (
    RolloutCallback,
)


def test_broken_weights_do_not_replace_a_checkpoint(lab_trainer):
    class Break(TrainerCallback):
        def on_step_end(self, args, state, control, model, **kwargs):
            if state.global_step == 8:
                model.lm_head.weight.data[5] = float("nan")

    trainer = lab_trainer(
        callbacks=[Break()], max_steps=16, save_strategy="steps", save_steps=4, save_total_limit=1, **BONUS
    )
    with pytest.raises(ValueError, match="broken at rollout 2 .*its weights are not finite"):
        trainer.train()
    run = trainer.history.path.parent
    assert [folder.name for folder in run.glob("checkpoint-*")] == ["checkpoint-4"]


class Poison(RolloutCallback):
    """Breaks the policy at rollout 2, before it samples or right after."""

    def __init__(self, before_sampling):
        self.before_sampling = before_sampling

    def on_rollout_begin(self, args, state, control, record, trainer):
        if record.rollout == 2 and self.before_sampling:
            trainer.model.lm_head.weight.data[5] = float("nan")
        elif record.rollout == 2:
            generate = trainer._generate

            def generate_and_break(prompts):
                output = generate(prompts)
                trainer.model.lm_head.weight.data[5] = float("nan")
                return output

            trainer._generate = generate_and_break


@pytest.mark.parametrize("before_sampling", [True, False])
def test_nan_in_mid_run_stops_it_and_keeps_the_checkpoint(before_sampling, lab_trainer):
    trainer = lab_trainer(
        callbacks=[Poison(before_sampling)], max_steps=16, save_strategy="steps", save_steps=4, **BONUS
    )
    with pytest.raises(ValueError, match=r"broken at rollout 2 .*lower learning_rate or max_grad_norm"):
        trainer.train()
    assert [record["rollout"] for record in trainer.history.records] == [0, 1]
    assert (trainer.history.path.parent / "checkpoint-8" / "es_state.json").exists()
