import copy
import json
import shutil

import pytest
import torch
from lab_runs import BONUS, LAB_ARGS, without_seconds, without_times

from es_trl import RolloutCallback
from es_trl.checkpoints.files import read_state, with_digest


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


@pytest.mark.slow
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


@pytest.mark.slow
def test_resume_into_another_folder_takes_the_history_along(whole_run, lab_trainer):
    folder, whole, blocks = whole_run
    resumed = lab_trainer(**RUN, **blocks)
    resumed.train(resume_from_checkpoint=str(folder / "checkpoint-8"))
    assert without_seconds(resumed.history.records) == without_seconds(whole.history.records)


@pytest.mark.slow
@pytest.mark.parametrize("in_process", [False, True])
@pytest.mark.parametrize("rollouts", [1, 2, 3])
def test_resume_across_a_hand_over(rollouts, in_process, lab_trainer, tmp_path, monkeypatch):
    monkeypatch.setattr("es_trl.control.handover.PATIENCE", 2)
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


CURRICULUM = {
    "entropy_schedule": {"kind": "stable_anneal", "target": 0.5, "end": 0.2, "ratio": 0.5},
    "curriculum": [{"start": "onset", "num_generations": 8, "max_completion_length": 16, "hold": "prompts"}],
    "dynamic_sampling_tries": 1,
    "overlong_cache": 3,
}
EARLY = {**CURRICULUM, "dynamic_sampling_tries": 4, "early_generations": 2, "early_pass_rates": [0.0, 0.8]}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("blocks", "iterations", "updates"),
    [(CHAIN, 1, (3, 9, 18)), (EARLY, 1, (3, 9, 12, 15)), (CURRICULUM, 2, (9, 18)), ({}, 1, (3, 18))],
    ids=["self_tuned", "curriculum", "reused", "off"],
)
def test_resume_inside_a_rollout_loses_nothing(blocks, iterations, updates, lab_trainer, tmp_path):
    run = {**RUN, "save_steps": 3, "num_iterations": iterations, "max_steps": 20 * iterations, **blocks}
    whole = lab_trainer(**run)
    whole.train()
    expected, weights = without_seconds(whole.history.records), copy.deepcopy(whole.model.state_dict())
    assert len(expected) == 5
    logged = without_times(whole.state.log_history[:-1])
    for update in updates:  # of four a rollout, or of eight; the switch is after twelve of them, or 24
        resumed = lab_trainer(**run)
        resumed.train(resume_from_checkpoint=str(tmp_path / "run" / f"checkpoint-{update}"))
        assert without_seconds(resumed.history.records) == expected
        assert all(torch.equal(value, weights[name]) for name, value in resumed.model.state_dict().items())
        assert without_times(resumed.state.log_history[:-1]) == logged


@pytest.mark.slow
def test_metrics_between_two_lines_of_the_log_are_kept(lab_trainer, tmp_path):
    run = {**RUN, "max_steps": 8, "save_steps": 3, "logging_steps": 8, **BONUS}
    whole, resumed = lab_trainer(**run), lab_trainer(**run)
    whole.train()
    resumed.train(resume_from_checkpoint=str(tmp_path / "run" / "checkpoint-3"))
    for name in ("entropy", "reward", "es/control", "clip_ratio/high_mean"):
        assert resumed.state.log_history[0][name] == whole.state.log_history[0][name]


@pytest.mark.slow
def test_seconds_of_a_resumed_rollout_count_both_parts(lab_trainer, tmp_path):
    run = {**RUN, "max_steps": 4, "save_steps": 3}
    lab_trainer(**run).train()
    path = tmp_path / "run" / "checkpoint-3" / "es_state.json"
    path.write_text(with_digest({**read_state(path.parent), "seconds": 1000.0}))
    resumed = lab_trainer(**run)
    resumed.train(resume_from_checkpoint=str(path.parent))
    assert 1000.0 < resumed.history.records[0]["seconds"] < 1100.0


@pytest.fixture
def checkpoint(lab_trainer, tmp_path):
    lab_trainer(**{**RUN, "max_steps": 4}, **BONUS).train()
    return tmp_path / "run" / "checkpoint-4"


def test_checkpoint_of_another_trainer_is_refused(checkpoint, lab_trainer):
    (checkpoint / "es_state.json").unlink()
    with pytest.raises(ValueError, match="has no es_state.json, .* start a new run with the checkpoint as the model"):
        lab_trainer(**RUN, **BONUS).train(resume_from_checkpoint=str(checkpoint))


def test_checkpoint_of_other_blocks_is_refused(checkpoint, lab_trainer):
    with pytest.raises(ValueError, match=r"with the rollout callbacks \['EntropyScheduler'\] but this run has \[\]"):
        lab_trainer(**RUN).train(resume_from_checkpoint=str(checkpoint))


class Onlooker(RolloutCallback):
    def on_rollout_end(self, args, state, control, record, trainer):
        self.last = record.rollout


@pytest.mark.slow
def test_a_callback_without_a_state_comes_and_goes(checkpoint, lab_trainer, tmp_path):
    onlooker, run = Onlooker(), {**RUN, "max_steps": 8, **BONUS}
    lab_trainer(callbacks=[onlooker], **run).train(resume_from_checkpoint=str(checkpoint))
    assert onlooker.last == 1 and not onlooker.keeps_state
    saved = json.loads((tmp_path / "run" / "checkpoint-8" / "es_state.json").read_text())
    assert [name for name, _ in saved["callbacks"]] == ["EntropyScheduler"]
    resumed = lab_trainer(**{**run, "max_steps": 12})
    resumed.train(resume_from_checkpoint=str(tmp_path / "run" / "checkpoint-8"))
    assert [record["rollout"] for record in resumed.history.records] == [0, 1, 2]


def test_checkpoint_of_another_actuator_is_refused(checkpoint, lab_trainer):
    other = {**BONUS, "entropy_actuator": {"kind": "clip"}}
    with pytest.raises(ValueError, match="with PIDController on EntropyBonusActuator but this run has PIDCon"):
        lab_trainer(**RUN, **other).train(resume_from_checkpoint=str(checkpoint))


@pytest.mark.slow
def test_checkpoint_outlives_a_run_that_began_anew(whole_run, lab_trainer, tmp_path):
    folder, whole, blocks = whole_run
    shutil.copytree(folder, tmp_path / "run")
    # somebody forgot resume_from_checkpoint: the folder's history starts over
    lab_trainer(**{**RUN, "max_steps": 4, "save_strategy": "no"}, **blocks).train()
    resumed = lab_trainer(**RUN, **blocks)
    resumed.train(resume_from_checkpoint=str(tmp_path / "run" / "checkpoint-8"))
    assert without_seconds(resumed.history.records) == without_seconds(whole.history.records)


def test_checkpoint_of_another_version_is_refused(checkpoint, lab_trainer):
    path = checkpoint / "es_state.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "version": 99}))
    with pytest.raises(ValueError, match="version 99 but this es_trl reads version 7"):
        lab_trainer(**RUN, **BONUS).train(resume_from_checkpoint=str(checkpoint))


def test_missing_history_is_refused(checkpoint, lab_trainer):
    (checkpoint / "es_history.jsonl").unlink()
    with pytest.raises(ValueError, match="not a whole checkpoint .es_history.jsonl is missing"):
        lab_trainer(**RUN, **BONUS).train(resume_from_checkpoint=str(checkpoint))


@pytest.mark.slow
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


@pytest.mark.slow
def test_true_resumes_from_the_latest_whole_checkpoint(lab_trainer, tmp_path):
    run = {**RUN, "max_steps": 12, **BONUS}
    whole = lab_trainer(**run)
    whole.train()
    (tmp_path / "run" / "checkpoint-12" / "optimizer.pt").unlink()
    (tmp_path / "run" / "checkpoint-11").mkdir()
    resumed = lab_trainer(**run)
    resumed.train(resume_from_checkpoint=True)
    assert without_seconds(resumed.history.records) == without_seconds(whole.history.records)
    assert resumed.state.log_history[8]["step"] == 9  # from update 8


def test_a_save_into_an_old_checkpoint_leaves_nothing_of_it(lab_trainer, tmp_path):
    old = tmp_path / "run" / "checkpoint-4"
    old.mkdir(parents=True)
    (old / "trainer_state.json").write_text("{}")
    (old / "es_rollout_7.pt").write_bytes(b"old")
    lab_trainer(**{**RUN, "max_steps": 4}).train()
    assert not (old / "es_rollout_7.pt").exists()
    assert json.loads((old / "es_state.json").read_text())["rollout"] == 1


def test_a_torn_rollout_is_one_sentence(lab_trainer, tmp_path):
    run = {**RUN, "max_steps": 4, "save_steps": 3}
    lab_trainer(**run).train()
    path = tmp_path / "run" / "checkpoint-3" / "es_rollout_0.pt"
    path.write_bytes(path.read_bytes()[:99])
    with pytest.raises(
        ValueError, match="checkpoint-3 is not a whole checkpoint .es_rollout_0.pt is damaged.: resume f"
    ):
        lab_trainer(**run).train(resume_from_checkpoint=str(tmp_path / "run" / "checkpoint-3"))


def test_other_data_is_refused(lab_trainer, tmp_path):
    run = {**RUN, "max_steps": 4, "dynamic_sampling_tries": 1}
    lab_trainer(**run).train()
    with pytest.raises(ValueError, match="sizes {'train': 12} but this run has {'train': 16}"):
        lab_trainer(**{**run, "max_steps": 8, "prompts": 16}).train(resume_from_checkpoint=True)


@pytest.mark.slow
@pytest.mark.parametrize("change", [{"max_steps": 40}, {"curriculum": [{"start": 0.5, "num_generations": 16}]}])
def test_a_stage_that_has_moved_is_refused(change, lab_trainer, tmp_path):
    run = {**RUN, "curriculum": [{"start": 0.5, "num_generations": 8}], "prompts": 16}
    lab_trainer(**run).train()
    with pytest.raises(ValueError, match="in stage 1 .from rollout 2 on, 2 prompts x 8 .* no such stage"):
        lab_trainer(**{**run, **change}).train(resume_from_checkpoint=str(tmp_path / "run" / "checkpoint-16"))


@pytest.mark.slow
def test_trls_own_coefficient_is_in_the_state(lab_trainer, tmp_path):
    adaptive = {"use_adaptive_entropy": True, "entropy_target": 0.6, "entropy_coef": 0.01, "entropy_coef_delta": 0.02}
    run = {**RUN, "max_steps": 8, "save_steps": 3, **adaptive}
    whole = lab_trainer(**run)
    whole.train()
    (tmp_path / "run" / "checkpoint-3" / "entropy_ctrl_state.json").unlink()  # a kill can come before TRL's own file
    resumed = lab_trainer(**run)
    resumed.train(resume_from_checkpoint=str(tmp_path / "run" / "checkpoint-3"))
    assert resumed.entropy_coef == whole.entropy_coef != 0.01
    assert without_seconds(resumed.history.records) == without_seconds(whole.history.records)
