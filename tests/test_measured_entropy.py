"""The entropy of the record is that of the policy that sampled."""

import pytest
from plain_entropy import plain_entropy

from es_trl import (
    ESGRPOTrainer,
    RolloutCallback,
)
from es_trl.lab import BASE_MODEL, countdown_dataset, countdown_reward


@pytest.mark.parametrize("geometry", [{}, {"steps_per_generation": 1, "per_device_train_batch_size": 16}])
def test_entropy_is_that_of_the_sampling_policy(geometry, lab_trainer):
    trainer = lab_trainer(max_steps=1, temperature=0.7, learning_rate=0.0, **geometry)
    trainer.train()
    (record,) = trainer.history.records
    assert record["entropy"] == pytest.approx(plain_entropy(trainer, trainer._buffered_inputs), abs=1e-5)


class Freeze(RolloutCallback):
    """From rollout 1 on the weights stay as they were when it was sampled."""

    def on_rollout_begin(self, args, state, control, record, trainer):
        if record.rollout == 1:
            for group in trainer.optimizer.param_groups:
                group["lr"] = 0.0


def test_entropy_is_that_of_the_adapter_and_not_of_its_reference(lab_args):
    peft = pytest.importorskip("peft")
    # with beta TRL makes a second pass of the same model, its adapter switched off
    args = lab_args(max_steps=5, beta=0.05, learning_rate=0.02)
    trainer = ESGRPOTrainer(
        BASE_MODEL,
        countdown_reward,
        args,
        countdown_dataset(64, seed=1),
        callbacks=[Freeze()],
        peft_config=peft.LoraConfig(r=4, target_modules=["q_proj", "v_proj", "o_proj"], task_type="CAUSAL_LM"),
    )
    trainer.train()
    measured = trainer.history.records[-1]["entropy"]
    assert measured == pytest.approx(plain_entropy(trainer, trainer._buffered_inputs), abs=1e-5)
    with trainer.model.disable_adapter():
        assert abs(measured - plain_entropy(trainer, trainer._buffered_inputs)) > 0.001


def test_standard_error_does_not_hang_on_the_pass(lab_trainer):
    """TRL shuffles completions between its own pass and the loss; prompts are told apart in both."""
    readings = []
    for updates in (4, 1):  # with one update a rollout the loss pass is the only one
        trainer = lab_trainer(max_steps=updates, gradient_accumulation_steps=4 // updates)
        trainer.train()
        readings.append(trainer.history.records[0])
    first, second = readings
    assert first["entropy"] == pytest.approx(second["entropy"], rel=1e-5)
    assert first["entropy_se"] == pytest.approx(second["entropy_se"], rel=1e-4) and 0.005 < first["entropy_se"] < 0.1
