"""Runs with stages that equal runs without them."""

import pytest
import torch
from lab_runs import BONUS, LAB_ARGS, without_seconds
from stage_runs import DATASETS, SWITCH, Watching, make

from es_trl import Curriculum, ESGRPOConfig, Stage
from es_trl.lab import BASE_MODEL, countdown_reward


@pytest.mark.slow
def test_one_stage_is_the_run_without_a_curriculum(tmp_path):
    plain = make(tmp_path, "plain", datasets=DATASETS["train"], max_steps=12, **BONUS)
    plain.train()
    staged = make(tmp_path, "staged", datasets=DATASETS["train"], max_steps=12, callbacks=[Curriculum()], **BONUS)
    staged.train()
    assert staged.prompts == plain.prompts
    for own, other in zip(staged.history.records, plain.history.records, strict=True):
        assert {**own, "curriculum_stage": None, "seconds": 0} == {**other, "seconds": 0}
    expected = plain.model.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in staged.model.state_dict().items())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("loss_type", "accumulation"), [("dapo", 1), ("dapo", 2), ("grpo", 2), ("dr_grpo", 1), ("luspo", 1)]
)
def test_held_prompts_equal_larger_micro_batches(loss_type, accumulation, tmp_path):
    # 4 prompts x 8 completions, as 4 micro-batches of 8, and as 4 of 4 in two passes each
    same = {
        "micro_batches": "completions",
        "loss_type": loss_type,
        "gradient_accumulation_steps": accumulation,
        "max_steps": 8 // accumulation,
        "optim": "sgd",  # Adam makes much of a gradient that is nothing but rounding
        "learning_rate": 0.05,
        "datasets": DATASETS["train"],
        **BONUS,
    }
    if loss_type == "luspo":
        same["importance_sampling_level"] = "sequence"
    large = make(tmp_path, "large", per_device_train_batch_size=8, num_generations=8, **same)
    large.train()
    stage = {"start": 0.0, "num_generations": 8, "hold": "prompts"}
    cut = make(tmp_path, "cut", curriculum=[stage], **same)
    cut.train()
    assert cut.prompts == large.prompts
    assert len(cut.passes) == 2 * len(large.passes)
    for own, other in zip(cut.history.records, large.history.records, strict=True):
        assert own["entropy"] == pytest.approx(other["entropy"], abs=1e-5)
        assert own["control"] == pytest.approx(other["control"], abs=1e-5)
    expected = large.model.state_dict()
    for name, value in cut.model.state_dict().items():
        assert torch.allclose(value, expected[name], atol=2e-6), name
    assert cut.state.log_history[0]["loss"] == pytest.approx(large.state.log_history[0]["loss"], abs=2e-4)


def test_dr_grpo_keeps_the_scale_of_its_loss(tmp_path):
    class Scale(Watching):
        def _compute_loss(self, model, inputs):
            loss = super()._compute_loss(model, inputs)
            ratio_one = inputs.get("old_per_token_logps") is None or self._step % self._generate_every == 0
            if ratio_one:
                mask = inputs["completion_mask"]
                plain = -(inputs["advantages"].unsqueeze(1) * mask).sum() / len(mask)
                self.scales = [*getattr(self, "scales", []), (plain / loss).item() if plain.abs() > 0.1 else None]
            return loss

    args = ESGRPOConfig(
        str(tmp_path), **{**LAB_ARGS, "max_steps": 24, "loss_type": "dr_grpo"}, curriculum=[{**SWITCH, "start": 0.5}]
    )
    trainer = Scale(BASE_MODEL, countdown_reward, args, train_dataset=DATASETS)
    trainer.train()
    found = [scale for scale in trainer.scales if scale is not None]
    assert len(found) >= 3 and found == pytest.approx([12.0] * len(found), rel=1e-3)  # also after the switch to 16


@pytest.mark.slow
def test_order_goes_on_in_a_data_set_that_two_stages_share(tmp_path):
    trainer = make(
        tmp_path, datasets=DATASETS["train"], curriculum=[{"start": 0.5, "num_generations": 8}], max_steps=24
    )
    trainer.train()
    asked = [prompt for prompts in trainer.prompts for prompt in dict.fromkeys(prompts)]
    plain = make(tmp_path, "plain", datasets=DATASETS["train"], max_steps=24)
    plain.train()
    expected = [prompt for prompts in plain.prompts for prompt in dict.fromkeys(prompts)]
    assert asked == expected[: len(asked)] and len(asked) == 3 * 4 + 3 * 2


@pytest.mark.slow
def test_a_curriculum_among_the_callbacks(tmp_path):
    stages = [Stage(0.5, data={"hard": 1, "train": 1}, num_generations=8)]
    one = make(tmp_path, "one", callbacks=[Curriculum(stages)])
    one.train()
    block = [{"start": 0.5, "data": {"hard": 1, "train": 1}, "num_generations": 8}]
    other = make(tmp_path, "other", curriculum=block)
    other.train()
    assert without_seconds(one.history.records) == without_seconds(other.history.records)
