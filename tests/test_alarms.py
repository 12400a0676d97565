import random
import sys
from types import SimpleNamespace

import pytest

from es_trl.control.alarms import PATIENCE, SEVERAL, AlarmRecords, new_alarms, send_alerts


def records(rollouts, **changes):
    """Records of a run on target; a change is a value, or a function of the rollout."""
    base = {"target": 0.4, "entropy": 0.4, "entropy_se": 0.01, "control": 0.2, "saturated": False,
            "actuator": "ClipHighActuator", "clip_high_fraction": 0.01, "curriculum_stage": None, "reward": 0.1,
            "truncated_completions": 0.1, "uniform_rewards": 0.5, "max_completion_length": 16,
            "estimate": None}  # fmt: skip
    rows = []
    for rollout in range(rollouts):
        row = {**base, **{name: value(rollout) if callable(value) else value for name, value in changes.items()}}
        rows.append({**row, "error": row["target"] - row["entropy"]})
    return rows


def first_alarm(rows):
    """The rollout of the first alarm, and what it says."""
    for rollout, seen in enumerate(as_they_come(rows)):
        if alarms := new_alarms(seen):
            return rollout, alarms
    return None


def as_they_come(rows):
    """The history at every rollout; what is known after its updates only is not known then."""
    return [[*rows[:last], {**rows[last], "clip_high_fraction": None}] for last in range(len(rows))]


def test_a_run_on_target_raises_none():
    assert first_alarm(records(60, entropy=lambda t: 0.4 + 0.01 * (-1) ** t)) is None


def test_saturation():
    rows = records(40, entropy=0.3, control=0.4, saturated=True)
    rollout, (message,) = first_alarm(rows)
    assert rollout == PATIENCE - 1
    assert message == (
        "the control has been at its bound 0.4 for 10 rollouts and entropy is 0.100 nats below its target. "
        "Widen the actuator's bounds, move the target, or use an actuator that acts in every geometry (entropy_bonus)"
    )
    assert [new_alarms(seen) for seen in as_they_come(rows)[PATIENCE:]] == [[]] * (40 - PATIENCE)  # said once


def test_a_control_that_visits_its_bound_is_no_alarm():
    assert first_alarm(records(40, control=0.4, saturated=lambda t: t % 9 > 0, entropy=0.3)) is None
    assert first_alarm(records(40, control=lambda t: 0.4 if t % 2 else 0.1, saturated=True)) is None


@pytest.mark.parametrize("is_controlled", [True, False])
def test_truncation(is_controlled):
    rows = records(12, truncated_completions=lambda t: 0.5 if 3 <= t else 0.49)
    told = [new_alarms(seen, is_controlled) for seen in as_they_come(rows)]
    assert [rollout for rollout, messages in enumerate(told) if messages] == [3 + SEVERAL - 1]
    (message,) = told[7]
    assert message.startswith(
        "50% of the completions of 5 rollouts were cut at max_completion_length (16 tokens). A cut"
    )
    assert "raise max_completion_length" in message
    for never in (0.49, None, lambda t: 0.9 * (t % SEVERAL > 0)):
        assert first_alarm(records(30, truncated_completions=never)) is None


@pytest.mark.parametrize("is_controlled", [True, False])
def test_nothing_to_learn(is_controlled):
    rows = records(12, uniform_rewards=1.0, reward=0.0)
    told = [new_alarms(seen, is_controlled) for seen in as_they_come(rows)]
    assert [rollout for rollout, messages in enumerate(told) if messages] == [SEVERAL - 1]
    assert "for every prompt of 5 rollouts, so nothing is learned (mean reward 0)" in told[4][0]
    assert first_alarm(records(30, uniform_rewards=lambda t: 0.99 if t % SEVERAL == 0 else 1.0)) is None


def test_alarms_of_the_entropy_are_for_runs_with_a_target():
    rows = records(30, entropy=0.01)
    assert [len(new_alarms(seen)) for seen in as_they_come(rows)][0] == 1
    assert [
        new_alarms([{**row, "target": None, "error": None} for row in seen], False) for seen in as_they_come(rows)
    ] == [[]] * 30


def test_divergence():
    rollout, (message,) = first_alarm(records(40, entropy=lambda t: 0.4 - 0.01 * max(0, t - 9)))
    assert 15 <= rollout <= 25 and "moving away from its target: the error grew from +0.0" in message
    assert "Start a new run with a lower learning_rate" in message
    assert first_alarm(records(40, entropy=lambda t: 0.8 - 0.01 * t)) is None  # it comes nearer, then crosses


def found(positive, **gains):
    return {"entropy": 0.4, "drift": 0.01, "sensitivity": -0.3, "sensitivity_sd": 0.02, "positive": positive, **gains}


def test_reversed_effect():
    rows = records(20, estimate=lambda t: found(0.004 if t >= 8 else 0.5), actuator="ClipHighActuator")
    rollout, (message,) = first_alarm(rows)
    assert rollout == 8 + SEVERAL - 1
    assert message == (
        "more control of ClipHighActuator means less entropy in this run (-0.3 +- 0.02 nats per rollout and unit). The "
        "controller assumes the opposite and drives entropy away from its target: set entropy_controller: "
        "self_tuned_pid, which finds the sign, or another entropy_actuator"
    )


@pytest.mark.parametrize("estimate", [found(0.006), found(0.0, kp=-1.0), None], ids=["unsure", "learned", "none"])
def test_no_alarm_where_the_sign_is_not_sure_or_known_to_the_controller(estimate):
    assert first_alarm(records(20, estimate=estimate)) is None


def test_collapse():
    rollout, (message,) = first_alarm(records(20, entropy=lambda t: 0.4 if t < 12 else 0.05))
    assert rollout == 12 and message.startswith("entropy has collapsed to 0.0500 nats with a target of 0.400")
    assert first_alarm(records(20, target=0.0, entropy=0.01)) is None  # annealed to nothing, as it was told


def test_explosion():
    rollout, (message,) = first_alarm(records(20, entropy=lambda t: 0.4 if t < 12 else 0.9))
    assert rollout == 12 and message.startswith("entropy has exploded to 0.900 nats with a target of 0.400")
    assert first_alarm(records(20, entropy=lambda t: 0.9 * 0.95**t)) is None  # what the run began with


def test_idle_clip():
    rollout, (message,) = first_alarm(records(30, clip_high_fraction=2e-5))
    # the tenth fraction is known one rollout later, after its updates
    assert rollout == PATIENCE
    assert "at most 2.0e-05 of the tokens reached the upper clip in each of 10 rollouts" in message


@pytest.mark.parametrize("actuator", ["ClipActuator", "EntropyBonusActuator"])
def test_an_upper_clip_that_does_not_have_to_act_is_no_alarm(actuator):
    assert first_alarm(records(30, clip_high_fraction=0.0, actuator=actuator)) is None


def test_a_value_that_hovers_at_a_limit_is_one_alarm():
    rows = records(30, entropy=lambda t: 0.09 if t % 3 == 0 else 0.11)
    assert [len(new_alarms(seen)) for seen in as_they_come(rows)] == [1] + [0] * 29


def test_what_is_not_known_yet_is_no_alarm():
    assert first_alarm(records(1, clip_high_fraction=None, entropy_se=None)) is None
    assert first_alarm(records(30, clip_high_fraction=None, entropy_se=None)) is None


ALARM = [{"kind": "alarm", "message": "look"}]


def test_trackers_with_alerts_get_the_alarms(monkeypatch):
    sent = []
    monkeypatch.setitem(sys.modules, "trackio", SimpleNamespace(alert=lambda **given: sent.append(("trackio", given))))
    run = SimpleNamespace(alert=lambda **given: sent.append(("wandb", given)))
    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(run=run))
    send_alerts(7, ALARM, ["trackio", "tensorboard", "wandb"])
    given = {"title": "es_trl alarm", "text": "rollout 7: look"}
    assert sent == [("trackio", given), ("wandb", given)]


def test_a_tracker_that_fails_does_not_end_the_run(monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(run=None))
    send_alerts(7, ALARM, ["wandb"])
    assert "the alert could not be sent: AttributeError" in caplog.messages[-1]


def test_a_stage_of_the_curriculum_is_judged_by_itself():
    # the second stage's prompts read three times the entropy, which within one stage would be an explosion
    rows = records(40, entropy=lambda rollout: 0.4 if rollout < 20 else 1.2)
    assert "exploded" in first_alarm(rows)[1][0]
    for row in rows[20:]:
        row.update(curriculum_stage=1, target=1.2, error=0.0)
    for row in rows[:20]:
        row["curriculum_stage"] = 0
    assert first_alarm(rows) is None


@pytest.mark.parametrize("seed", range(20))
def test_the_records_kept_for_alarms_give_the_alarms_of_the_whole_history(seed):
    rng = random.Random(seed)
    level, told, kept, rows = 0.4, [], AlarmRecords(), []
    for rollout in range(150):
        level = max(0.02, level + rng.choice([-0.03, 0.0, 0.03]) + 0.4 * (rng.random() < 0.02))
        bound = (rollout // 13) % 2 == seed % 2
        (row,) = records(
            1,
            entropy=level,
            control=0.4 if bound else rng.random(),
            saturated=bound,
            truncated_completions=0.6 if rollout % 40 < 9 else rng.random(),
            uniform_rewards=1.0 if rollout % 30 < 7 else rng.random(),
            clip_high_fraction=rng.choice([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, None]) if rollout % 50 < 30 else 0.1,
            curriculum_stage=[None, 0, 1, 0][rollout // 40],
        )
        if rng.random() < 0.1:  # a rollout without a token to measure
            row |= {"entropy": None, "error": None}
        now = {**row, "clip_high_fraction": None}
        told += (alarms := new_alarms([*rows, now]))
        assert new_alarms([*kept.of_stage(row["curriculum_stage"]), now]) == alarms
        rows.append(row)
        kept.add(row)
    assert told


class Counted(dict):
    """A record that counts how often it is read."""

    reads = 0

    def __getitem__(self, name):
        Counted.reads += 1
        return super().__getitem__(name)

    def keys(self):
        Counted.reads += 1
        return super().keys()


@pytest.mark.parametrize("unmeasured", [False, True])
def test_the_alarms_of_a_long_run_read_as_few_records(unmeasured):
    reads = []
    for rollouts in (100, 10_000):
        kept = AlarmRecords()
        for row in records(rollouts, entropy=0.3, control=0.4, saturated=True):
            kept.add(Counted(row, entropy=None) if unmeasured and row["entropy"] else Counted(row))
        before = kept.of_stage(None)
        Counted.reads = 0
        new_alarms([*before, records(1, entropy=0.3)[0]])
        reads.append((len(before), Counted.reads))
    assert reads[0] == reads[1] and reads[0][0] == (0 if unmeasured else 26)
