"""What trackers get: every number of a record, once, under names that begin with `es/`."""

import json
import math
import subprocess
import sys
from dataclasses import fields, replace
from statistics import mean

import pytest
from lab_runs import BONUS, LAB_ARGS
from launching import ROOT, environment
from transformers.integrations.integration_utils import rewrite_logs

from es_trl.tracking.history import RolloutRecord
from es_trl.tracking.trackers import EVENT_KINDS, tracked


TEXTS = {"stage": "anneal", "actuator": "ClipActuator"}
MAPPINGS = {"settings": {"epsilon_high": 0.3}, "estimate": {"kp": 2.0, "ki": 0.5}, "sampling": {"tries": 3}}
LISTS = {"update_entropies": [0.5, None, 0.25], "update_controls": [1.0, 1.0, 2.5]}
MEANS = {"es/update_entropies": 0.375, "es/update_controls": 1.5}
EVENTS = [{"kind": "alarm", "message": "a"}, {"kind": "mine", "message": "b"}, {"kind": "alarm", "message": "c"}]
COUNTS = {f"es/events/{kind}": 0.0 for kind in EVENT_KINDS} | {"es/events/alarm": 2.0, "es/events/mine": 1.0}
NUMBERS = {
    field.name: float(place)
    for place, field in enumerate(fields(RolloutRecord))
    if field.name not in (*TEXTS, *MAPPINGS, *LISTS, "events")
}
FULL = RolloutRecord(**{**NUMBERS, **TEXTS, **MAPPINGS, **LISTS, "events": EVENTS, "saturated": True})


def test_every_number_of_a_record_is_sent_once():
    measured, closed = tracked(FULL, is_closed=False), tracked(FULL, is_closed=True)
    assert measured.keys() & closed.keys() == set()
    inner = {f"es/{name}/{key}": value for name, of in MAPPINGS.items() for key, value in of.items()}
    plain = {f"es/{name}": value for name, value in NUMBERS.items() if name not in ("rollout", "global_step", "run")}
    assert measured | closed == {**plain, **inner, **MEANS, **COUNTS, "es/saturated": 1.0}
    assert set(closed) == {"es/kept", "es/clip_high_fraction", "es/seconds", *MEANS, *COUNTS}


def test_what_does_not_apply_is_left_out():
    empty = RolloutRecord(rollout=0, global_step=0)
    assert tracked(empty, is_closed=False) == {}
    assert tracked(empty, is_closed=True) == {f"es/events/{kind}": 0.0 for kind in EVENT_KINDS}
    broken = replace(empty, entropy=math.nan, settings={"epsilon_high": math.inf, "epsilon": 0.1}, reward=0.5)
    assert tracked(broken, is_closed=False) == {"es/settings/epsilon": 0.1, "es/reward": 0.5}


def logged(trainer):
    """The lines of the log as the callbacks of transformers send them, es/ alone."""
    lines = [{n: v for n, v in rewrite_logs(line).items() if "/es/" in n} for line in trainer.state.log_history]
    return [line for line in lines if line]


def numbers(records, prefix="train/"):
    """The means of the numbers of records, by their names in trackers."""
    found = [RolloutRecord(**record) for record in records]
    values = [tracked(record, is_closed=False) | tracked(record, is_closed=True) for record in found]
    return {f"{prefix}{name}": mean(each[name] for each in values) for name in values[0]}


AGAIN = {**BONUS, "dynamic_sampling_tries": 2, "early_generations": 2, "early_pass_rates": [0.0, 1.0]}


@pytest.mark.parametrize("changes", [{}, BONUS, AGAIN], ids=["off", "bonus", "again"])
def test_the_log_has_the_numbers_of_the_history(changes, lab_trainer):
    trainer = lab_trainer(**changes)
    trainer.train()
    for rollout, record in enumerate(trainer.history.records):
        of_rollout = {name: v for line in logged(trainer)[2 * rollout : 2 * rollout + 2] for name, v in line.items()}
        assert of_rollout == pytest.approx(numbers([record]))  # at its first update and at its last
        assert of_rollout["train/es/reward"] == record["reward"] and record["seconds"] > 0.0


def test_a_log_over_two_rollouts_has_their_means(lab_trainer):
    trainer = lab_trainer(**BONUS, logging_steps=8)
    trainer.train()
    (line,) = logged(trainer)
    assert line == pytest.approx(numbers(trainer.history.records))
    assert len({record["entropy"] for record in trainer.history.records}) == 2


RUN = """
import json, sys
from es_trl import ESGRPOConfig, ESGRPOTrainer
from es_trl.lab import BASE_MODEL, countdown_dataset, countdown_reward
from trackio.sqlite_storage import SQLiteStorage

args = ESGRPOConfig(**json.loads(sys.argv[1]))
data = {"train_dataset": countdown_dataset(64, seed=1), "eval_dataset": countdown_dataset(5, seed=2)}
trainer = ESGRPOTrainer(BASE_MODEL, countdown_reward, args, **data)
trainer.train()
(run,) = SQLiteStorage.get_runs("probe")
found = {"logs": SQLiteStorage.get_logs("probe", run), "run": run, "records": trainer.history.records}
print("\\n" + json.dumps({**found, "log": trainer.state.log_history}, default=str))
"""


@pytest.mark.slow
def test_trackio_has_them_without_a_connection(tmp_path):
    pytest.importorskip("trackio")
    names = {"report_to": "trackio", "project": "probe", "run_name": "first", "output_dir": str(tmp_path / "run")}
    evaluation = {"eval_strategy": "steps", "eval_steps": 4, "per_device_eval_batch_size": 8, "eval_pass_at_k": [1, 4]}
    options = json.dumps({**LAB_ARGS, **BONUS, **names, **evaluation, "logging_steps": 4})
    own = environment(TRACKIO_DIR=str(tmp_path / "trackio"), HF_HUB_OFFLINE="1")
    command = [sys.executable, "-c", RUN, options]
    done = subprocess.run(command, cwd=ROOT, env=own, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-4000:]
    found = json.loads(done.stdout.strip().splitlines()[-1])
    assert found["run"] == "first" and (tmp_path / "trackio" / "probe.db").is_file()
    lines = [line for line in found["logs"] if "train/es/entropy" in line]
    assert [line["train/global_step"] for line in lines] == [4, 8]
    for line, record in zip(lines, found["records"], strict=True):
        assert {n: v for n, v in line.items() if "/es/" in n} == pytest.approx(numbers([record]))
    passes = [[line[f"eval/pass@{k}"] for k in (1, 4)] for line in found["logs"] if "eval/pass@1" in line]
    assert passes == [[line[f"eval_pass@{k}"] for k in (1, 4)] for line in found["log"] if "eval_pass@1" in line]
    assert len(passes) == 2
