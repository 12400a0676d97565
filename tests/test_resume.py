import copy
import json
import shutil

import pytest
import torch
from conftest import BONUS, without_seconds

from es_trl import RolloutCallback


SIGN_STEP = {
    "entropy_schedule": {"kind": "stable_anneal", "target": 0.9, "end": 0.3, "ratio": 0.4, "relative": True},
    "entropy_controller": {"kind": "sign_step", "delta": 0.02, "window": 2},
    "entropy_actuator": {"kind": "clip"},
}
PID = {"kind": "pid", "kp": 5.0, "ki": 0.0}
CHAIN = {
    "entropy_schedule": {"kind": "constant", "target": 0.4},
    "entropy_actuator": ["clip_high", {"kind": "entropy_bonus", "low": -0.5, "high": 0.5}],
}
# 12 prompts and 4 a rollout: an epoch is 3 rollouts, so the run of 5 crosses into the second one
RUN = {"max_steps": 20, "save_strategy": "steps", "save_steps": 4, "prompts": 12, "lr_scheduler_type": "linear"}


@pytest.fixture(scope="module", params=[BONUS, SIGN_STEP, CHAIN, {}], ids=["pid", "sign_step", "self_tuned", "off"])
def whole_run(request, tmp_path_factory):
    """An uninterrupted run with a checkpoint after every rollout."""
    from conftest import LAB_ARGS

    from es_trl import ESGRPOConfig, ESGRPOTrainer
    from es_trl.lab import BASE_MODEL, countdown_dataset, countdown_reward

    run = {**RUN, **request.param}
    prompts = run.pop("prompts")
    folder = tmp_path_factory.mktemp("whole") / "run"
    trainer = ESGRPOTrainer(
        BASE_MODEL,
        countdown_reward,
        ESGRPOConfig(output_dir=str(folder), **{**LAB_ARGS, **run}),
        train_dataset=countdown_dataset(prompts, seed=1),
    )
    trainer.train()
    return folder, trainer, request.param


@pytest.mark.parametrize("rollouts", [1, 2, 3, 4])
def test_resumed_run_equals_the_whole_one(rollouts, whole_run, lab_trainer, tmp_path):
    folder, whole, blocks = whole_run
    shutil.copytree(folder, tmp_path / "run")
    resumed = lab_trainer(**RUN, **blocks)
    resumed.train(resume_from_checkpoint=str(tmp_path / "run" / f"checkpoint-{4 * rollouts}"))
    assert without_seconds(resumed.history.records) == without_seconds(whole.history.records)
    lines = (tmp_path / "run" / "es_history.jsonl").read_text().splitlines()
    assert [json.loads(line)["rollout"] for line in lines] == [0, 1, 2, 3, 4]
    expected = whole.model.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in resumed.model.state_dict().items())


def test_resume_into_another_folder_takes_the_history_along(whole_run, lab_trainer):
    folder, whole, blocks = whole_run
    resumed = lab_trainer(**RUN, **blocks)
    resumed.train(resume_from_checkpoint=str(folder / "checkpoint-8"))
    assert without_seconds(resumed.history.records) == without_seconds(whole.history.records)


@pytest.mark.parametrize("in_process", [False, True])
@pytest.mark.parametrize("rollouts", [1, 2, 3])
def test_resume_across_a_hand_over(rollouts, in_process, lab_trainer, tmp_path, monkeypatch):
    monkeypatch.setattr("es_trl.chain.PATIENCE", 2)
    run = {**RUN, **CHAIN, "entropy_schedule": {"kind": "constant", "target": 1.5}, "entropy_controller": PID}
    whole = lab_trainer(**run)
    whole.train()
    records, weights = whole.history.records, copy.deepcopy(whole.model.state_dict())
    # the clip acts in rollouts 0 and 1, so the three checkpoints are before, at and after the hand-over
    assert [record["actuator"][:4] for record in records] == ["Clip", "Clip", "Entr", "Entr", "Entr"]
    resumed = whole if in_process else lab_trainer(**run)
    resumed.train(resume_from_checkpoint=str(tmp_path / "run" / f"checkpoint-{4 * rollouts}"))
    assert without_seconds(resumed.history.records) == without_seconds(records)
    assert all(torch.equal(value, weights[name]) for name, value in resumed.model.state_dict().items())


def test_resume_inside_a_rollout_continues_it(lab_trainer, tmp_path):
    run = {**RUN, "save_steps": 6, **BONUS}
    whole = lab_trainer(**run)
    whole.train()
    state = json.loads((tmp_path / "run" / "checkpoint-6" / "es_state.json").read_text())
    assert (state["rollout"], state["micro_step"], state["record"]["rollout"]) == (1, 6, 1)
    resumed = lab_trainer(**run)
    resumed.train(resume_from_checkpoint=str(tmp_path / "run" / "checkpoint-6"))
    records = resumed.history.records
    assert [record["rollout"] for record in records] == [0, 1, 2, 3, 4]
    # what was measured and decided before the checkpoint stands; the cadence of rollouts is kept
    assert [record["global_step"] for record in records] == [0, 4, 8, 12, 16]
    assert records[1]["entropy"] == state["record"]["entropy"]
    assert records[1]["control"] == state["settings"]["entropy_bonus"]


@pytest.fixture
def checkpoint(lab_trainer, tmp_path):
    lab_trainer(**{**RUN, "max_steps": 4}, **BONUS).train()
    return tmp_path / "run" / "checkpoint-4"


def test_checkpoint_of_another_trainer_is_refused(checkpoint, lab_trainer):
    (checkpoint / "es_state.json").unlink()
    with pytest.raises(ValueError, match="has no es_state.json, .* start a new run with the checkpoint as the model"):
        lab_trainer(**RUN, **BONUS).train(resume_from_checkpoint=str(checkpoint))


def test_checkpoint_of_other_blocks_is_refused(checkpoint, lab_trainer):
    with pytest.raises(ValueError, match=r"with the rollout callbacks \['EntropyScheduler'\] and this run has \[\]"):
        lab_trainer(**RUN).train(resume_from_checkpoint=str(checkpoint))


def test_checkpoint_of_another_actuator_is_refused(checkpoint, lab_trainer):
    other = {**BONUS, "entropy_actuator": {"kind": "clip"}}
    with pytest.raises(ValueError, match="by PIDController on EntropyBonusActuator and this run controls with PIDCon"):
        lab_trainer(**RUN, **other).train(resume_from_checkpoint=str(checkpoint))


def test_checkpoint_outlives_a_run_that_began_anew(whole_run, lab_trainer, tmp_path):
    folder, whole, blocks = whole_run
    shutil.copytree(folder, tmp_path / "run")
    # somebody forgot resume_from_checkpoint: the folder's history starts over
    lab_trainer(**{**RUN, "max_steps": 1, "save_strategy": "no"}, **blocks).train()
    resumed = lab_trainer(**RUN, **blocks)
    resumed.train(resume_from_checkpoint=str(tmp_path / "run" / "checkpoint-8"))
    assert without_seconds(resumed.history.records) == without_seconds(whole.history.records)


def test_checkpoint_of_another_version_is_refused(checkpoint, lab_trainer):
    path = checkpoint / "es_state.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "version": 99}))
    with pytest.raises(ValueError, match="version 99"):
        lab_trainer(**RUN, **BONUS).train(resume_from_checkpoint=str(checkpoint))


def test_missing_history_is_refused(checkpoint, lab_trainer):
    (checkpoint / "es_history.jsonl").unlink()
    with pytest.raises(ValueError, match="holds 0 of them: put the run's es_history.jsonl into the checkpoint"):
        lab_trainer(**RUN, **BONUS).train(resume_from_checkpoint=str(checkpoint))


def test_state_of_a_users_callback_is_restored(lab_trainer, tmp_path):
    class Counter(RolloutCallback):
        def __init__(self):
            self.ends = 0

        def on_rollout_end(self, args, state, control, record, trainer):
            self.ends += 1

        def state_dict(self):
            return {"ends": self.ends}

        def load_state_dict(self, state):
            self.ends = state["ends"]

    lab_trainer(**{**RUN, "max_steps": 8}, callbacks=[Counter()]).train()
    counter = Counter()
    lab_trainer(**RUN, callbacks=[counter]).train(resume_from_checkpoint=str(tmp_path / "run" / "checkpoint-8"))
    assert counter.ends == 5
