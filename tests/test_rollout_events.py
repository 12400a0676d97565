"""When a rollout is measured and controlled, and who hears of it."""

import pytest
import torch
from lab_runs import BONUS, without_seconds
from spy import Spy

from es_trl import (
    ClipHighActuator,
    ConstantSchedule,
    Curriculum,
    Decision,
    EntropyBonusActuator,
    EntropyScheduler,
    ESGRPOTrainer,
    PIDController,
    RolloutCallback,
    Stage,
)
from es_trl.lab import BASE_MODEL, countdown_dataset, countdown_reward


def test_one_tick_per_rollout_before_its_first_update(lab_trainer):
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


class Apart(ESGRPOTrainer):
    """Evaluates with random numbers of its own, so that the training's stay as they were."""

    def evaluate(self, *args, **kwargs):
        with torch.random.fork_rng():
            return super().evaluate(*args, **kwargs)


def test_evaluation_neither_ticks_nor_records(lab_args):
    runs = []
    for evaluation in ({}, {"eval_strategy": "steps", "eval_steps": 3, "per_device_eval_batch_size": 4}):
        data = {"train_dataset": countdown_dataset(64, seed=1), "eval_dataset": countdown_dataset(4, seed=2)}
        spy = Spy()
        trainer = Apart(BASE_MODEL, countdown_reward, lab_args(**BONUS, **evaluation), **data, callbacks=[spy])
        trainer.train()
        runs.append((trainer, spy))
    (plain, heard), (evaluated, also_heard) = runs
    # in the middle of both rollouts and at the end, and the run is as if nothing had been looked at
    found = [entry for entry in evaluated.state.log_history if "eval_reward" in entry]
    assert [entry["step"] for entry in found] == [3, 6, 8] and not any("es/" in name for name in found[0])
    assert also_heard.events == heard.events and "end 1" in heard.events
    assert without_seconds(evaluated.history.records) == without_seconds(plain.history.records)
    expected = plain.model.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in evaluated.model.state_dict().items())


def test_streamed_prompts(lab_args):
    stream = countdown_dataset(64, seed=1).to_iterable_dataset()
    trainer = ESGRPOTrainer(BASE_MODEL, countdown_reward, lab_args(max_steps=8, **BONUS), stream)
    trainer.train()
    assert [record["rollout"] for record in trainer.history.records] == [0, 1]


@pytest.mark.slow
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


def test_two_schedulers_are_refused(lab_trainer):
    scheduler = EntropyScheduler(ConstantSchedule(0.4), PIDController(), ClipHighActuator())
    with pytest.raises(ValueError, match="the run has 2 EntropyScheduler callbacks"):
        lab_trainer(callbacks=[scheduler], **BONUS)


class Deciding(RolloutCallback):
    """Returns a decision at the end of rollout 1."""

    def __init__(self, settings):
        self.settings = settings

    def on_rollout_end(self, args, state, control, record, **kwargs):
        if record.rollout == 1:
            return Decision(settings=self.settings, events=[{"kind": "note", "message": "the clip is widened"}])


def test_a_decision_of_a_users_callback_is_applied_and_told(lab_trainer, capsys):
    trainer = lab_trainer(callbacks=[Deciding({"epsilon_high": 0.5})])
    assert trainer.epsilon_high == 0.28
    trainer.train()
    assert trainer.epsilon_high == 0.5
    first, second = trainer.history.records
    assert (first["events"], second["events"]) == (None, [{"kind": "note", "message": "the clip is widened"}])
    assert "rollout 1, note: the clip is widened" in capsys.readouterr().out


def test_a_misspelt_setting_of_a_decision_is_refused(lab_trainer):
    with pytest.raises(ValueError, match="got 'epsilon_hgih', did you mean 'epsilon_high'?"):
        lab_trainer(callbacks=[Deciding({"epsilon_hgih": 0.5})]).train()


def test_a_decision_is_checked_where_it_is_made():
    with pytest.raises(ValueError, match="`settings` of a Decision must map names to finite numbers, got"):
        Decision(settings={"epsilon_high": float("nan")})
    with pytest.raises(ValueError, match="`events` of a Decision must be a list of mappings with the texts"):
        Decision(events=[{"message": "no kind"}])


class Returning(RolloutCallback):
    """Returns what it is told, of the arguments that transformers hands over."""

    def __init__(self, value):
        self.value = value

    def on_rollout_end(self, args, state, control, record, **kwargs):
        return control if self.value is None else self.value


def test_what_is_no_decision_is_refused(lab_trainer):
    lab_trainer(callbacks=[Returning(None)], max_steps=4).train()
    with pytest.raises(ValueError, match="Returning.on_rollout_end must return a Decision or None, got True"):
        lab_trainer(callbacks=[Returning(True)], max_steps=4).train()


class Writing(RolloutCallback):
    """Writes into the record that it gets."""

    def on_rollout_end(self, args, state, control, record, **kwargs):
        record.reward = 99.0


def test_the_record_of_a_callback_is_a_view(lab_trainer):
    with pytest.raises(AttributeError, match="cannot assign to field 'reward'"):
        lab_trainer(callbacks=[Writing()], max_steps=4).train()


class Counting(Curriculum):
    """Counts the rollouts that it hears of."""

    def __init__(self, stages):
        super().__init__(stages)
        self.heard = []

    def on_rollout_end(self, args, state, control, record, **kwargs):
        self.heard.append(record.rollout)
        return super().on_rollout_end(args, state, control, record, **kwargs)


def test_a_curriculum_of_a_users_own_class_is_called(lab_trainer):
    trainer = lab_trainer(callbacks=[Counting([Stage(0.5, num_generations=2)])])
    trainer.train()
    assert type(trainer.curriculum) is Counting and trainer.curriculum.heard == [0, 1]
    assert [record["curriculum_stage"] for record in trainer.history.records] == [0, 1]


class Duck:
    """An actuator of a user's own without a base class: it moves an attribute that TRL reads."""

    low, high = 0.1, 0.4

    def initial(self, args):
        return 0.28

    def settings(self, control, args):
        return {"epsilon_high": control}

    def check(self, args):
        """It acts where the clip does."""


def test_an_actuator_without_a_base_class_trains(lab_trainer):
    scheduler = EntropyScheduler(ConstantSchedule(0.9), PIDController(1.0, 0.1), Duck())
    trainer = lab_trainer(callbacks=[scheduler])
    trainer.train()
    records = trainer.history.records
    assert [record["settings"] for record in records] == [{"epsilon_high": record["control"]} for record in records]
    assert trainer.epsilon_high == records[-1]["control"] == 0.4
