"""What a run leaves: its history, its alarms, its files."""

import json
import math

import pytest
from lab_runs import BONUS


def test_an_alarm_is_said_and_in_the_history(lab_trainer, capsys):
    blocks = {"entropy_schedule": {"kind": "constant", "target": 3.0}, "entropy_actuator": "entropy_bonus"}
    trainer = lab_trainer(max_steps=4, **blocks)
    trainer.train()
    (event,) = trainer.history.records[0]["events"]
    assert event["kind"] == "alarm" and "entropy has collapsed" in event["message"]
    said = capsys.readouterr().out.replace("\n    ", " ")
    assert said.count(f"rollout 0, alarm: {event['message']}") == 1
    card = (trainer.history.path.parent / "README.md").read_text()
    assert "None" not in card and 'model="."' in card and "a model that is not on the Hub" in card
    assert f"- rollout 0, alarm: {event['message']}" in card


def test_history_fields(lab_trainer):
    trainer = lab_trainer(**BONUS)
    trainer.train()
    lines = [json.loads(line) for line in trainer.history.path.read_text().splitlines()]
    assert lines == trainer.history.records
    assert list(lines[0]) == [
        "rollout", "global_step", "run", "stage", "target", "entropy", "entropy_se", "clamped_entropy", "error",
        "control", "settings", "saturated", "actuator", "estimate", "events", "update_entropies", "update_controls",
        "curriculum_stage", "jump", "sampling", "early_exit", "reward", "uniform_rewards", "kept", "clip_high_fraction",
        "cut_ratios", "logp_difference", "num_generations", "max_completion_length", "completion_tokens",
        "truncated_completions", "seconds",
    ]  # fmt: skip
    first, second = lines
    assert (first["global_step"], second["global_step"], first["stage"]) == (0, 4, "stable")
    assert first["error"] == pytest.approx(first["target"] - first["entropy"])
    assert first["settings"] == {"entropy_bonus": first["control"]}
    assert (first["cut_ratios"], first["logp_difference"]) == (None, None)  # of vLLM
    assert second["settings"] == {"entropy_bonus": second["control"]}
    assert -1.0 <= first["reward"] <= 1.0 and 1.0 <= first["completion_tokens"] <= 12.0
    assert any("es/target" in entry for entry in trainer.state.log_history)


def test_uncontrolled_runs_are_recorded_too(lab_trainer):
    trainer = lab_trainer(max_steps=4)
    trainer.train()
    (record,) = trainer.history.records
    nothing = ("stage", "target", "error", "control", "settings", "saturated")
    assert all(record[name] is None for name in nothing) and record["entropy"] > 0.0


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


@pytest.mark.parametrize("value", [None, math.nan])
def test_a_reward_that_judges_nothing_is_an_alarm(value, lab_trainer):
    trainer = lab_trainer(reward=lambda completions, **_: [value] * len(completions), max_steps=20)
    trainer.train()
    records = trainer.history.records
    assert [record["uniform_rewards"] for record in records] == [1.0] * 5 and records[0]["reward"] is None
    (event,) = records[4]["events"]
    assert "nothing is learned (no reward at all)" in event["message"]
