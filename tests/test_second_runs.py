"""Another run of the same trainer, or in the same folder."""

import pytest
from lab_runs import BONUS


# a target out of reach: with PATIENCE at 1 the clip hands over after the first rollout
HANDS_OVER = {
    "entropy_schedule": {"kind": "constant", "target": 1.5},
    "entropy_controller": {"kind": "pid", "kp": 5.0, "ki": 0.0},
    "entropy_actuator": ["clip_high", {"kind": "entropy_bonus", "low": -0.5, "high": 0.5}],
}


def test_a_loop_of_an_earlier_run_in_the_folder_is_gone(lab_trainer):
    lab_trainer(max_steps=4, **BONUS).train()
    trainer = lab_trainer(max_steps=4)
    trainer.train()
    run = trainer.history.path.parent
    assert not (run / "es_loop.json").exists()
    assert "did not control it" in (run / "README.md").read_text()


def test_a_run_that_ends_inside_a_rollout_records_it(lab_trainer):
    trainer = lab_trainer(max_steps=6, **BONUS)
    trainer.train()
    assert [record["rollout"] for record in trainer.history.records] == [0, 1]
    trainer.train()  # and the next run begins with a rollout of its own
    assert [record["global_step"] for record in trainer.history.records] == [0, 4]


def test_a_second_run_of_the_same_trainer_starts_afresh(lab_trainer):
    trainer = lab_trainer(**BONUS, max_steps=4)
    trainer.train()
    trainer.train()
    assert [record["rollout"] for record in trainer.history.records] == [0]
    assert len(trainer.history.path.read_text().splitlines()) == 1


@pytest.mark.slow
def test_a_second_run_forgets_what_a_chain_has_moved(lab_trainer, monkeypatch):
    monkeypatch.setattr("es_trl.control.handover.PATIENCE", 1)
    trainer = lab_trainer(**HANDS_OVER, max_steps=8)
    runs = []
    for _ in range(2):
        trainer.train()
        runs.append(trainer.history.records)
        assert runs[-1][1]["settings"]["entropy_bonus"] == runs[-1][1]["control"] == 0.5
    first, second = runs
    assert [record["actuator"] for record in first] == ["ClipHighActuator", "EntropyBonusActuator"]
    assert [event["kind"] for event in first[0]["events"]] == ["hand_over"]
    # the weights went on, the control began afresh
    assert second[0]["settings"] == first[0]["settings"] == {"epsilon_high": 0.4, "entropy_bonus": 0.0}
