"""A control in the loss: the entropy bonus and the KL coefficient."""

import pytest

from es_trl import EntropyBonusActuator, EntropyScheduler, HoldController


def held_bonus(coefficient):
    """A scheduler that leaves the entropy bonus at `coefficient`."""
    begins = type("Held", (EntropyBonusActuator,), {"initial": lambda self, args: coefficient})
    return EntropyScheduler(None, HoldController(), begins(-0.5, 0.5))


def test_kl_coef_is_moved(lab_trainer):
    blocks = {"entropy_schedule": {"kind": "constant", "target": 0.9}, "entropy_actuator": "kl_coef"}
    trainer = lab_trainer(beta=0.02, **blocks)
    trainer.train()
    first, second = trainer.history.records
    assert 0.02 < first["control"] <= 0.1 and first["settings"] == {"beta": first["control"]}
    assert trainer.beta == second["control"]


@pytest.mark.parametrize("loss_type", ["grpo", "bnpo", "dr_grpo", "dapo", "cispo", "sapo", "vespo", "luspo"])
def test_bonus_means_the_same_for_every_loss(loss_type, lab_trainer):
    """With no advantage and no learning rate the loss is the bonus alone: minus coefficient x token-mean entropy."""
    trainer = lab_trainer(
        loss_type=loss_type,
        reward=lambda completions, **kwargs: [0.0] * len(completions),
        learning_rate=0.0,
        max_steps=4,
        importance_sampling_level="sequence" if loss_type == "luspo" else "token",
        callbacks=[held_bonus(0.25)],
    )
    losses = []
    compute_loss = trainer._compute_loss
    trainer._compute_loss = lambda model, inputs: losses.append(compute_loss(model, inputs)) or losses[-1]
    trainer.train()
    # the micro-batches of the rollout together: their mean is the token mean over the rollout
    assert sum(losses).item() / len(losses) == pytest.approx(-0.25 * trainer.history.records[0]["entropy"], rel=1e-5)


@pytest.mark.slow
def test_bonus_raises_entropy_and_its_negative_lowers_it(lab_trainer):
    ends = []
    for coefficient in (-0.5, 0.0, 0.5):
        trainer = lab_trainer(max_steps=24, callbacks=[held_bonus(coefficient)])
        trainer.train()
        ends.append(trainer.history.records[-1]["entropy"])
    assert ends[0] < ends[1] - 0.02 and ends[1] < ends[2] - 0.02
