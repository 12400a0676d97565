"""What a resume with another configuration lists, and what it refuses."""

import numpy as np
import pytest
from lab_runs import BONUS, LAB_ARGS, without_seconds

from es_trl import ESGRPOTrainer
from es_trl.checkpoints.changes import check_changes, describe_run
from es_trl.lab import BASE_MODEL, countdown_dataset, countdown_reward


RUN = {"save_strategy": "steps", "save_steps": 4, "max_steps": 20, "prompts": 32}
ANNEAL = {**BONUS, "entropy_schedule": {"kind": "stable_anneal", "target": 0.5, "end": 0.2, "ratio": 0.5}}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a run of 5 rollouts, of which the last 3 anneal, with a checkpoint after each."""
    from es_trl import ESGRPOConfig, ESGRPOTrainer
    from es_trl.lab import BASE_MODEL, countdown_dataset, countdown_reward

    folder = tmp_path_factory.mktemp("finished") / "run"
    run = {name: value for name, value in {**LAB_ARGS, **RUN, **ANNEAL}.items() if name != "prompts"}
    args = ESGRPOConfig(str(folder), **run)
    ESGRPOTrainer(BASE_MODEL, countdown_reward, args, train_dataset=countdown_dataset(32, seed=1)).train()
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("update", "change", "message"),
    [
        (16, {"max_steps": 40}, r"would jump from 0.2 to 0.5 .max_steps was 20 and is 40.: resume with the values"),
        (12, {"max_steps": 24}, "the target of the next rollout would jump from 0.35 to "),
        (
            4,
            {"entropy_schedule": {"kind": "constant", "target": 0.4}},
            "from 0.5 to 0.4 .schedule was Stable",
        ),
        (12, {"entropy_schedule": {**ANNEAL["entropy_schedule"], "end": 0.1}}, "would jump from 0.35 to 0.3 "),
    ],
)
def test_a_target_that_would_jump_is_refused_unless_told(update, change, message, finished, lab_trainer):
    checkpoint = str(finished / f"checkpoint-{update}")
    with pytest.raises(ValueError, match=message):
        lab_trainer(**{**RUN, **ANNEAL, **change}).train(resume_from_checkpoint=checkpoint)
    told = lab_trainer(**{**RUN, **ANNEAL, **change, "resume_with_changes": True, "save_strategy": "no"})
    told.train(resume_from_checkpoint=checkpoint)
    assert len(told.history.records) == told.args.max_steps // 4


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "listed"),
    [
        ({"max_steps": 24}, "max_steps was 20 and is 24: progress is counted over another length"),
        ({"temperature": 0.8}, "temperature was 1.0 and is 0.8: completions are sampled differently"),
        ({"loss_type": "grpo"}, "loss_type was dapo and is grpo: the rest of the run differs"),
        ({"warmup_steps": 5}, "warmup_steps was 0 and is 5: the learning rate follows another curve"),
        ({"max_grad_norm": 0.5}, "max_grad_norm was 1.0 and is 0.5: the rest of the run differs"),
        ({"scale_rewards": "batch"}, "scale_rewards was group and is batch: the rest of the run differs"),
        ({"learning_rate": 1e-5}, "learning_rate was 0.001 and is 1e-05: the optimizer keeps the checkpoint's"),
        ({"entropy_actuator": {**BONUS["entropy_actuator"], "high": 0.1}}, "the control is moved into the new bounds"),
        ({"prompts": 36}, "prompts was 32 and is 36: the prompts and their order differ"),
        ({"seed": 4}, "seed was 3 and is 4: the prompts come in another order"),
    ],
)
def test_other_changes_are_listed(change, listed, finished, lab_trainer, capsys):
    trainer = lab_trainer(**{**RUN, **ANNEAL, **change, "save_strategy": "no"})
    trainer.train(resume_from_checkpoint=str(finished / "checkpoint-4"))
    changes = [line for line in capsys.readouterr().out.splitlines() if line.startswith("changed: ")]
    assert len(changes) == 1 and listed in changes[0]


@pytest.mark.slow
def test_other_data_and_rewards_are_listed(finished, lab_args, capsys):
    def countdown_rewards(completions, **kwargs):
        return countdown_reward(completions, **kwargs)

    args = lab_args(**{**{name: value for name, value in RUN.items() if name != "prompts"}, **ANNEAL})
    other = ESGRPOTrainer(BASE_MODEL, countdown_rewards, args, countdown_dataset(32, seed=5))
    other.train(resume_from_checkpoint=str(finished / "checkpoint-16"))
    changes = [line for line in capsys.readouterr().out.splitlines() if line.startswith("changed: ")]
    assert len(changes) == 2 and "rewards was ['countdown_reward'] and is ['countdown_rewards']" in changes[0]
    assert "prompts_digest was" in changes[1] and changes[1].endswith("the prompts differ")


def test_what_is_no_json_is_compared_as_its_text(lab_args):
    args = lab_args(generation_kwargs={"sequence_bias": {(1, 2): 0.5}}, reward_weights=[np.float32(1.0)])
    described = describe_run(args, None, None, (4, ""), ["reward"])
    assert described["generation_kwargs"] == {"sequence_bias": {"(1, 2)": 0.5}} and described["prompts"] == 4
    assert "output_dir" not in described and "save_steps" not in described and described["reward_weights"] == [1.0]
    args.generation_kwargs = {"stopping_criteria": object()}
    assert describe_run(args, None, None, (4, ""), [])["generation_kwargs"] == {"stopping_criteria": "<object object>"}


@pytest.mark.slow
def test_nothing_is_listed_where_nothing_changed(finished, lab_trainer, capsys):
    trainer = lab_trainer(**RUN, **ANNEAL)
    trainer.train(resume_from_checkpoint=str(finished / "checkpoint-16"))
    assert "changed" not in capsys.readouterr().out
    assert without_seconds(trainer.history.records)[-1]["target"] == pytest.approx(0.2)


def test_a_target_within_rounding_does_not_jump():
    assert len(check_changes({"a": 1}, {"a": 2}, (0.4, 0.4 + 1e-12), False)) == 1
    with pytest.raises(ValueError, match="would jump from none to 0.4"):
        check_changes({}, {}, (None, 0.4), False)
    assert check_changes({}, {}, (None, 0.4), True) == []
