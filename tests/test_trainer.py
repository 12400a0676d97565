import copy
import json

import pytest
import torch
from conftest import BONUS, without_seconds
from datasets import Dataset
from transformers import TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from es_trl import (
    ClipHighActuator,
    ConstantSchedule,
    EntropyBonusActuator,
    EntropyScheduler,
    ESGRPOTrainer,
    HoldController,
    PIDController,
    RolloutCallback,
)
from es_trl.lab import BASE_MODEL, countdown_dataset, countdown_reward
from es_trl.trainer.sensor import completion_mask


# a target out of reach: with PATIENCE at 1 the clip hands over after the first rollout
HANDS_OVER = {
    "entropy_schedule": {"kind": "constant", "target": 1.5},
    "entropy_controller": {"kind": "pid", "kp": 5.0, "ki": 0.0},
    "entropy_actuator": ["clip_high", {"kind": "entropy_bonus", "low": -0.5, "high": 0.5}],
}
STILL = [  # blocks that never move anything
    {},
    {
        "entropy_schedule": {"kind": "constant", "target": 0.4},
        "entropy_controller": {"kind": "sign_step", "warmup": 9},
        "entropy_actuator": "clip_high",
    },
    {
        "entropy_schedule": {"kind": "stable_anneal", "target": 0.4, "end": 0.1, "ratio": 0.5},
        "entropy_controller": {"kind": "pid", "kp": 0.0, "ki": 0.0},
        "entropy_actuator": {"kind": "clip"},
    },
    {
        "entropy_schedule": {"kind": "cosine", "start": 1.0, "end": 0.1, "relative": True},
        "entropy_controller": {"kind": "pid", "kp": 0.0, "ki": 0.0},
        "entropy_actuator": {"kind": "entropy_bonus"},
    },
]


@pytest.fixture(scope="module")
def grpo_weights(tmp_path_factory):
    from conftest import LAB_ARGS

    args = GRPOConfig(output_dir=str(tmp_path_factory.mktemp("grpo")), **LAB_ARGS)
    dataset = countdown_dataset(64, seed=1)
    trainer = GRPOTrainer(BASE_MODEL, countdown_reward, args, train_dataset=dataset)
    trainer.train()
    return copy.deepcopy(trainer.model.state_dict())


@pytest.mark.parametrize("blocks", STILL)
def test_off_is_grpo(blocks, grpo_weights, lab_trainer):
    trainer = lab_trainer(**blocks)
    trainer.train()
    weights = trainer.model.state_dict()
    assert weights.keys() == grpo_weights.keys()
    assert all(torch.equal(weights[name], grpo_weights[name]) for name in weights)
    assert [record["rollout"] for record in trainer.history.records] == [0, 1]


def test_a_moving_block_moves_the_weights(grpo_weights, lab_trainer):
    trainer = lab_trainer(**BONUS)
    trainer.train()
    weights = trainer.model.state_dict()
    assert not all(torch.equal(weights[name], grpo_weights[name]) for name in weights)


class Spy(RolloutCallback):
    """Notes the events, and measures the entropy of the rollout plainly, on logits."""

    def __init__(self):
        self.events = []

    def on_step_begin(self, args, state, control, **kwargs):
        self.events.append(f"update {state.global_step}")

    def on_rollout_begin(self, args, state, control, record, trainer):
        self.events.append(f"begin {record.rollout}")

    def on_rollout_end(self, args, state, control, record, trainer):
        self.events.append(f"end {record.rollout}")


def plain_entropy(trainer, batches):
    """Token-mean entropy of the policy on TRL's batches, the long way round."""
    total = tokens = 0.0
    for batch in batches:
        ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1)
        attention = torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1)
        with torch.no_grad():
            logits = trainer.model(input_ids=ids, attention_mask=attention).logits.double()
        logits = logits[:, -batch["completion_ids"].shape[1] - 1 : -1] / trainer.temperature
        log_p = logits.log_softmax(-1)
        entropies = -(log_p.exp() * log_p).sum(-1)
        mask = completion_mask(batch)
        total += (entropies * mask).sum().item()
        tokens += mask.sum().item()
    return total / tokens


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


def test_streamed_prompts(lab_args):
    stream = countdown_dataset(64, seed=1).to_iterable_dataset()
    trainer = ESGRPOTrainer(BASE_MODEL, countdown_reward, lab_args(max_steps=8, **BONUS), stream)
    trainer.train()
    assert [record["rollout"] for record in trainer.history.records] == [0, 1]


def test_one_tick_a_rollout_before_its_first_update(lab_trainer):
    spy = Spy()
    trainer = lab_trainer(callbacks=[spy])
    trainer.train()
    updates = [f"update {step}" for step in range(8)]
    # TRL generates inside the first micro-batch of an update
    assert spy.events == [updates[0], "begin 0", "end 0", *updates[1:5], "begin 1", "end 1", *updates[5:]]


def test_measured_in_the_loss_pass_where_trl_makes_no_other(lab_trainer):
    spy = Spy()
    scheduler = EntropyScheduler(ConstantSchedule(0.9), PIDController(), EntropyBonusActuator(-0.5, 0.5))
    trainer = lab_trainer(
        callbacks=[scheduler, spy], gradient_accumulation_steps=4, per_device_train_batch_size=4, max_steps=2
    )
    trainer.train()
    assert spy.events == ["update 0", "begin 0", "end 0", "update 1", "begin 1", "end 1"]
    first, second = trainer.history.records
    assert first["entropy"] > 0.2 and first["control"] == pytest.approx(1.05 * (0.9 - first["entropy"]), abs=1e-6)
    assert first["clip_high_fraction"] == 0.0


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


def test_kl_coef_is_moved(lab_trainer):
    blocks = {"entropy_schedule": {"kind": "constant", "target": 0.9}, "entropy_actuator": "kl_coef"}
    trainer = lab_trainer(beta=0.02, **blocks)
    trainer.train()
    first, second = trainer.history.records
    assert 0.02 < first["control"] <= 0.1 and first["settings"] == {"beta": first["control"]}
    assert trainer.beta == second["control"]


def test_an_alarm_is_in_the_log_and_in_the_history(lab_trainer, caplog):
    blocks = {"entropy_schedule": {"kind": "constant", "target": 3.0}, "entropy_actuator": "entropy_bonus"}
    trainer = lab_trainer(max_steps=4, **blocks)
    trainer.train()
    (event,) = trainer.history.records[0]["events"]
    assert event["kind"] == "alarm" and "entropy has collapsed" in event["message"]
    assert f"entropy alarm at rollout 0: {event['message']}" in caplog.messages
    card = (trainer.history.path.parent / "README.md").read_text()
    assert "None" not in card and 'model="."' in card and "a model that is not on the Hub" in card
    assert f"- rollout 0, alarm: {event['message']}" in card


def test_evaluation_neither_ticks_nor_records(lab_args, lab_trainer):
    def trained(**evaluation):
        args = lab_args(**BONUS, **evaluation)
        trainer = ESGRPOTrainer(
            BASE_MODEL,
            countdown_reward,
            args,
            train_dataset=countdown_dataset(64, seed=1),
            eval_dataset=countdown_dataset(4, seed=2),
        )
        trainer.train()
        return trainer

    trainer = trained(eval_strategy="steps", eval_steps=3, per_device_eval_batch_size=4)
    assert [record["rollout"] for record in trainer.history.records] == [0, 1]
    assert any("eval_reward" in entry for entry in trainer.state.log_history)


def test_history_fields(lab_trainer):
    trainer = lab_trainer(**BONUS)
    trainer.train()
    lines = [json.loads(line) for line in trainer.history.path.read_text().splitlines()]
    assert lines == trainer.history.records
    assert list(lines[0]) == [
        "rollout", "global_step", "run", "stage", "target", "entropy", "entropy_se", "clamped_entropy", "error",
        "control", "settings", "saturated", "actuator", "estimate", "events", "curriculum_stage", "jump", "sampling",
        "reward", "kept", "clip_high_fraction", "truncated", "logp_difference", "num_generations",
        "max_completion_length", "completion_tokens", "seconds",
    ]  # fmt: skip
    first, second = lines
    assert (first["global_step"], second["global_step"], first["stage"]) == (0, 4, "stable")
    assert first["error"] == pytest.approx(first["target"] - first["entropy"])
    assert first["settings"] == {"entropy_bonus": first["control"]}
    assert (first["truncated"], first["logp_difference"]) == (None, None)  # of vLLM
    assert trainer.entropy_bonus == second["control"]
    assert -1.0 <= first["reward"] <= 1.0 and 1.0 <= first["completion_tokens"] <= 12.0
    assert any("es/target" in entry for entry in trainer.state.log_history)


def test_a_loop_of_an_earlier_run_in_the_folder_is_gone(lab_trainer):
    lab_trainer(max_steps=4, **BONUS).train()
    trainer = lab_trainer(max_steps=4)
    trainer.train()
    run = trainer.history.path.parent
    assert not (run / "es_loop.json").exists()
    assert "did not control it" in (run / "README.md").read_text()


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


def test_uncontrolled_runs_are_recorded_too(lab_trainer):
    trainer = lab_trainer(max_steps=4)
    trainer.train()
    (record,) = trainer.history.records
    nothing = ("stage", "target", "error", "control", "settings", "saturated")
    assert all(record[name] is None for name in nothing) and record["entropy"] > 0.0


def test_scheduler_as_callback_equals_blocks(lab_trainer):
    by_blocks = lab_trainer(**BONUS)
    by_blocks.train()
    scheduler = EntropyScheduler(
        ConstantSchedule(0.5), PIDController(kp=1.0, ki=0.1), EntropyBonusActuator(low=-0.5, high=0.5)
    )
    by_callback = lab_trainer(callbacks=[scheduler])
    by_callback.train()
    assert without_seconds(by_blocks.history.records) == without_seconds(by_callback.history.records)


def test_callbacks_as_people_add_them(lab_trainer):
    trainer = lab_trainer(callbacks=[Spy], max_steps=4)  # a class, as transformers allows
    trainer.add_callback(
        EntropyScheduler(ConstantSchedule(0.5), PIDController(kp=1.0, ki=0.1), EntropyBonusActuator(-0.5, 0.5))
    )
    trainer.train()
    (record,) = trainer.history.records
    assert record["control"] == pytest.approx(1.1 * (0.5 - record["entropy"]))
    spy = trainer.pop_callback(Spy)
    assert spy.events[:3] == ["update 0", "begin 0", "end 0"]


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


def test_a_second_run_forgets_what_a_chain_has_moved(lab_trainer, monkeypatch):
    monkeypatch.setattr("es_trl.control.handover.PATIENCE", 1)
    trainer = lab_trainer(**HANDS_OVER, max_steps=8)
    runs = []
    for _ in range(2):
        trainer.train()
        runs.append(trainer.history.records)
        assert trainer.entropy_bonus == runs[-1][1]["control"] == 0.5
    first, second = runs
    assert [record["actuator"] for record in first] == ["ClipHighActuator", "EntropyBonusActuator"]
    assert [event["kind"] for event in first[0]["events"]] == ["hand_over"]
    # the weights went on, the control began afresh
    assert second[0]["settings"] == first[0]["settings"] == {"epsilon_high": 0.4, "entropy_bonus": 0.0}


def held_bonus(coefficient):
    """A scheduler that leaves the entropy bonus at `coefficient`."""
    begins = type("Held", (EntropyBonusActuator,), {"initial": lambda self, args: coefficient})
    return EntropyScheduler(None, HoldController(), begins(-0.5, 0.5))


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


def test_bonus_raises_entropy_and_its_negative_lowers_it(lab_trainer):
    ends = []
    for coefficient in (-0.5, 0.0, 0.5):
        trainer = lab_trainer(max_steps=24, callbacks=[held_bonus(coefficient)])
        trainer.train()
        ends.append(trainer.history.records[-1]["entropy"])
    assert ends[0] < ends[1] - 0.02 and ends[1] < ends[2] - 0.02


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


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"use_adaptive_entropy": True}, "two controllers"),
        ({"entropy_actuator": "clip", "loss_type": "sapo"}, "no authority with loss_type"),
        ({"entropy_actuator": "clip", "steps_per_generation": 1, "per_device_train_batch_size": 16}, "with 1 update a"),
        ({"entropy_actuator": ["entropy_bonus", "kl_coef"]}, "kl_coef has no authority with beta=0.*set beta"),
        ({"entropy_actuator": ["clip", "clip"]}, "one is there twice: name each once"),
    ],
)
def test_refused_before_weights_load(changes, message, lab_args):
    args = lab_args(entropy_schedule={"kind": "constant", "target": 0.4}, **changes)
    with pytest.raises(ValueError, match=message):
        ESGRPOTrainer("no/such/model", countdown_reward, args, train_dataset=countdown_dataset(64, seed=1))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({"promt": ["1 2=3:"] * 8}, "no column 'prompt', did you mean 'promt'"),
        ({}, "no column 'prompt'"),
    ],
)
def test_unfit_data_is_refused_before_weights_load(rows, message, lab_args):
    with pytest.raises(ValueError, match=message):
        ESGRPOTrainer("no/such/model", countdown_reward, lab_args(), train_dataset=Dataset.from_dict(rows))


def test_two_schedulers_are_refused(lab_trainer):
    scheduler = EntropyScheduler(ConstantSchedule(0.4), PIDController(), ClipHighActuator())
    with pytest.raises(ValueError, match="there are two of EntropyScheduler"):
        lab_trainer(callbacks=[scheduler], **BONUS)


def test_run_files(lab_trainer):
    pytest.importorskip("matplotlib")
    trainer = lab_trainer(**BONUS, save_strategy="steps", save_steps=4)
    trainer.train()
    run = trainer.history.path.parent
    assert (run / "es_curves.png").stat().st_size > 10_000
    card = (run / "README.md").read_text()
    assert "es_curves.png" in card and "es_history.jsonl" in card and "wang2026entropy" in card
    assert "PIDController(kp=1.0, ki=0.1" in card and card.count("## Entropy over the run") == 1
    assert "ES-GRPO" in card and "entropy-scheduling" in card
    state = json.loads((run / "checkpoint-8" / "es_state.json").read_text())
    assert (state["rollout"], state["micro_step"], state["record"]) == (2, 8, None)
