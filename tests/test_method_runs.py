"""Runs of the methods: equal to GRPO where they do nothing, through a resume, and moving entropy as they promise."""

from itertools import cycle
from pathlib import Path

import pytest
import torch
from lab_runs import without_seconds
from method_runs import CONTROLLED, OPEN, PLAIN
from peft import LoraConfig
from reference import algorithm_1

from es_trl import EntropyScheduler, ESGRPOTrainer, HoldController, RolloutCallback
from es_trl.actuators.record_only import RecordOnlyActuator
from es_trl.lab import BASE_MODEL, countdown_dataset, countdown_reward


# bounds and steps that move a model as small as the lab's: fifty times the published ones
STRONG = {
    "aer": {"entropy_actuator": {"high": 0.5}, "entropy_controller": {"gain": 0.1}},
    "aent": {
        "entropy_actuator": {"low": 0.03, "high": 0.45, "start": 0.1},
        "entropy_controller": {"gain": 0.1, "warmup": 0},
    },
    "es_pid": {"entropy_actuator": {"kind": "entropy_bonus", "low": -1.0, "high": 1.0}},
    "skywork": {"entropy_coef_delta": 0.005, "entropy_coef_max": 0.25},
}


def weights_of(trainer):
    return torch.cat([parameter.detach().flatten() for parameter in trainer.model.parameters()])


def trained(lab_trainer, **changes):
    trainer = lab_trainer(**{**PLAIN, **changes})
    trainer.train()
    return trainer


@pytest.mark.slow
@pytest.mark.parametrize("loss_type", ["dapo", "grpo"])
@pytest.mark.parametrize(
    "neutral",
    [
        {"method": "grpo"},
        {"method": "grpo", "entropy_schedule": {"kind": "constant", "target": 0.4}},
        {
            "method": "entrocraft",
            "entropy_schedule": {"kind": "constant", "target": 5.0},
            "entropy_controller": {"width": 10},
        },
        {"method": "entropic", "entropy_controller": {"kp": 0.0, "ki": 0.0}},
        {"method": "aer", "entropy_schedule": {"kind": "constant", "target": 0.0}},
        {"method": "clip_cov", "entropy_actuator": {"ratio": 0.0}, "epsilon": 0.2000001},
    ],
    ids=["grpo", "grpo_recorded", "entrocraft", "entropic", "aer", "clip_cov"],
)
def test_what_does_nothing_is_grpo(neutral, loss_type, lab_trainer):
    same = {"loss_type": loss_type, "micro_batches": "completions"}  # clip_cov would keep TRL's, and the others not
    plain = trained(lab_trainer, **same, epsilon=0.2000001, epsilon_high=0.3)
    neutral = {"epsilon": 0.2000001, **neutral, "epsilon_high": 0.3}
    assert torch.equal(weights_of(trained(lab_trainer, **same, **neutral)), weights_of(plain))


@pytest.mark.slow
def test_a_clamped_bonus_that_clamps_nothing_is_the_entropy_bonus(lab_trainer):
    constant = {"entropy_schedule": {"kind": "constant", "target": 0.4}}
    clamped = trained(
        lab_trainer,
        **constant,
        entropy_controller={"kind": "dead_band", "gain": 0.05},
        entropy_actuator={"kind": "clamped_bonus", "clamp": 0.0, "low": -0.1, "high": 0.1, "start": 0.0},
    )
    plain = trained(
        lab_trainer,
        **constant,
        entropy_controller={"kind": "dead_band", "gain": 0.05},
        entropy_actuator={"kind": "entropy_bonus", "low": -0.1, "high": 0.1},
    )
    assert torch.equal(weights_of(clamped), weights_of(plain))
    assert {record["control"] for record in plain.history.records} != {0.0}


def test_the_clamped_entropy_is_measured_and_held(lab_trainer):
    trainer = trained(lab_trainer, method="aent", entropy_actuator={"clamp": 0.9}, entropy_controller={"warmup": 0})
    assert len(trainer.history.records) == 2
    for record in trainer.history.records:
        assert 0.0 < record["clamped_entropy"] < record["entropy"] - 0.001
        assert record["error"] == pytest.approx(record["target"] - record["clamped_entropy"])


def test_a_method_and_a_scheduler_of_ones_own_are_refused(lab_trainer):
    scheduler = EntropyScheduler((0.4).__mul__, HoldController(), RecordOnlyActuator())
    with pytest.raises(ValueError, match="`method` must be unset when `callbacks` has an EntropyScheduler, got grpo"):
        lab_trainer(method="grpo", callbacks=[scheduler], **PLAIN)


@pytest.mark.slow
def test_what_is_held_on_resume_is_what_the_configuration_says(lab_trainer):
    run = {"method": "clip_cov", "save_strategy": "steps", "save_steps": 4, **PLAIN}
    whole = trained(lab_trainer, **run)
    resumed = lab_trainer(entropy_actuator={"ratio": 0.01}, **run)
    resumed.train(resume_from_checkpoint=f"{whole.args.output_dir}/checkpoint-4")
    assert [record["control"] for record in resumed.history.records] == [2e-4, 0.01]


def test_a_bonus_that_rests_at_nothing_is_not_at_its_bound(lab_trainer):
    trainer = trained(lab_trainer, method="aer", max_steps=48)
    records = trainer.history.records
    assert {record["control"] for record in records} == {0.0} and {record["saturated"] for record in records} == {False}
    assert not [event for record in records for event in record["events"] if "at its bound" in event["message"]]


MIXED = {
    "num_iterations": 2,
    "dynamic_sampling_tries": 1,
    "overlong_cache": 4,
    "max_steps": 32,
    "curriculum": [{"start": 0.5, "num_generations": 8, "hold": "prompts"}],
    "eval_strategy": "steps",
    "eval_steps": 4,
    "per_device_eval_batch_size": 4,
    "entropy_schedule": {"kind": "linear", "start": 0.9, "end": 0.1},
}


@pytest.mark.slow
@pytest.mark.parametrize("method", ["aer", "aent", "entrocraft", "entropic", "qae", "clip_cov", "kl_cov"])
def test_with_everything_else_at_once(method, lab_args):
    args = lab_args(method=method, **PLAIN, **MIXED, **STRONG.get(method, {}))
    trainer = ESGRPOTrainer(
        BASE_MODEL, countdown_reward, args, countdown_dataset(64, seed=1), countdown_dataset(4, seed=9)
    )
    trainer.train()
    records = trainer.history.records
    assert [record["num_generations"] for record in records] == [4, 4, 8, 8] and weights_of(trainer).isfinite().all()
    assert all(0.0 <= record["entropy"] < 3.0 for record in records)
    if method == "entrocraft":
        assert records[0]["control"] == 1.0 and records[-1]["control"] == -1.0
        assert all(0.0 < record["kept"] < 1.0 for record in (records[0], records[-1]))
    elif method not in OPEN:
        assert len({record["control"] for record in records}) > 1


def test_skywork_follows_a_schedule(lab_trainer):
    aims = []

    class Watch(RolloutCallback):
        def on_rollout_end(self, args, state, control, record, trainer):
            aims.append((trainer.args.entropy_target, record.target))

    schedule = {"kind": "linear", "start": 0.9, "end": 0.1}
    trainer = lab_trainer(method="skywork", entropy_schedule=schedule, callbacks=[Watch()], max_steps=12, **PLAIN)
    trainer.train()
    assert [target for target, _ in aims] == pytest.approx([0.9, 0.5, 0.1]) and all(a == b for a, b in aims)


ONE_UPDATE_RUN = {"steps_per_generation": 1, "per_device_train_batch_size": 16, "max_steps": 4}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "geometry"),
    [*((method, {}) for method in (*CONTROLLED, "skywork")), ("entrocraft", ONE_UPDATE_RUN), ("aent", ONE_UPDATE_RUN)],
)
def test_after_a_resume_it_goes_on(method, geometry, lab_trainer, tmp_path):
    run = {"method": method, "max_steps": 12, **STRONG.get(method, {}), **geometry, **PLAIN}
    run |= {
        "save_strategy": "steps",
        "save_steps": 2 if geometry else 6,  # inside a rollout, where there is an inside
        "entropy_schedule": {"kind": "linear", "start": 0.9, "end": 0.3},
    }
    whole = trained(lab_trainer, **run)
    checkpoint = f"{whole.args.output_dir}/checkpoint-{run['save_steps']}"
    resumed = lab_trainer(**run)
    resumed.train(resume_from_checkpoint=checkpoint)
    assert without_seconds(resumed.history.records) == without_seconds(whole.history.records)
    assert torch.equal(weights_of(resumed), weights_of(whole))
    moved = [record["kept"] if method == "entrocraft" else record["control"] for record in whole.history.records]
    assert method == "es" or len(set(moved)) > 1


LARGER = {
    "per_device_train_batch_size": 32,
    "num_generations": 8,
    "max_steps": 32,
    "learning_rate": 1e-3,
    "lr_scheduler_type": "constant",
    "prompts": 512,
}
FAST = {  # so that eight rollouts show it
    **STRONG,
    "aer": {**STRONG["aer"], "entropy_controller": {"gain": 50.0}},
    "aent": {**STRONG["aent"], "entropy_controller": {"gain": 50.0, "warmup": 0}},
    "entropic": {"entropy_controller": {"kp": 10.0}},
    "entrocraft": {},
    "skywork": {**STRONG["skywork"], "entropy_coef_delta": 0.02},
}


def end_of(trainer):
    return sum(record["entropy"] for record in trainer.history.records[-2:]) / 2


@pytest.mark.slow
@pytest.mark.parametrize(("method", "loss_type"), zip(FAST, cycle(["dapo", "grpo"])))
def test_a_higher_target_makes_more_entropy(method, loss_type, lab_trainer):
    low, high = (
        trained(
            lab_trainer,
            method=method,
            loss_type=loss_type,
            entropy_schedule={"kind": "constant", "target": target},
            **LARGER,
            **FAST[method],
        )
        for target in (0.05, 0.9)
    )
    assert end_of(high) > end_of(low) + 0.05
    if method == "aer":
        assert all(record["control"] >= 0.0 for record in [*low.history.records, *high.history.records])


def test_es_moves_the_clip_as_the_paper_says(lab_trainer):
    # the clip itself moves the lab's entropy by less than training does, so the promise is the control's
    trainer = trained(lab_trainer, method="es", max_steps=32, entropy_schedule={"kind": "constant", "target": 0.5})
    records = trainer.history.records
    entropies = [record["entropy"] for record in records]
    clips = algorithm_1(entropies, lambda t: 0.5, c0=0.28, delta=0.005, w=5, T=5, c_min=0.10, c_max=0.40)
    assert [record["settings"]["epsilon_high"] for record in records] == pytest.approx(clips) and len(set(clips)) > 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "changes"),
    [
        ("clip_cov", {"entropy_actuator": {"ratio": 0.05, "cov_low": 0.3, "cov_high": 50.0}}),
        ("kl_cov", {"entropy_actuator": {"ratio": 0.2, "coefficient": 5.0}}),
    ],
)
def test_the_open_loops_slow_the_fall_of_entropy(method, changes, lab_trainer):
    free = {"clip_cov": {"epsilon": 1.0, "epsilon_high": 1.0}, "kl_cov": {"epsilon": 1.0, "epsilon_high": 1e9}}[method]
    acting = trained(lab_trainer, method=method, **LARGER, **changes)
    assert end_of(acting) > end_of(trained(lab_trainer, **LARGER, **free)) + 0.01
    records = acting.history.records
    assert {record["target"] for record in records} == {None} and {record["stage"] for record in records} == {None}
    assert len({record["control"] for record in records}) == 1


def test_the_documentations_own_method(lab_trainer):
    from dataclasses import dataclass

    import es_trl

    page = (Path(__file__).parent.parent / "docs" / "methods" / "own_method.md").read_text()
    (code,) = [block for block in page.split("```")[1::2] if "class DampPositives" in block]
    names = {"dataclass": dataclass, "torch": torch, **{name: getattr(es_trl, name) for name in es_trl.__all__}}
    exec(code.removeprefix("python\n"), names)
    assert len([line for line in code.split("\n\n\n")[0].splitlines() if line]) <= 10
    trainer = lab_trainer(callbacks=names["callbacks"], **PLAIN)
    trainer.train()
    first, last = trainer.history.records
    # kp 5 times the error at the first rollout; above its target entropy needs no damping
    assert first["settings"] == {"damping": max(0.0, min(5.0 * (0.5 - first["entropy"]), 1.0))}
    assert last["control"] == 0.0 and last["target"] == 0.1


def test_a_schedule_may_be_missing_only_where_nothing_is_held():
    from es_trl import KLCovActuator, PIDController

    with pytest.raises(ValueError, match="the schedule must be a Schedule or a function .*, got None"):
        EntropyScheduler(None, PIDController(), KLCovActuator())
    assert EntropyScheduler(None, HoldController(), KLCovActuator()).loop.describe()["schedule"] == "none"


@pytest.mark.parametrize(
    "changes",
    [{}, {"gradient_checkpointing": True}, {"bf16": True}, {"beta": 0.01}],
    ids=["adapter", "checkpointing", "bf16", "reference"],
)
def test_the_clamped_head_as_models_are_trained(changes, lab_args):
    adapter = LoraConfig(r=4, target_modules=["q_proj", "v_proj"]) if not changes or "beta" in changes else None
    args = lab_args(method="aent", **STRONG["aent"], **PLAIN, **changes)
    dataset = countdown_dataset(64, seed=1)
    trainer = ESGRPOTrainer(BASE_MODEL, countdown_reward, args, train_dataset=dataset, peft_config=adapter)
    trainer.train()
    first, last = trainer.history.records
    # the base's on the same prompts, whatever it is trained with
    assert first["clamped_entropy"] == pytest.approx(0.5219, abs=5e-4)
    assert first["entropy"] - first["clamped_entropy"] == pytest.approx(5e-4, abs=2e-4)
    assert last["clamped_entropy"] != first["clamped_entropy"]
