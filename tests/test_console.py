"""What a run says on its console."""

import errno
import os
import pty
import subprocess
import sys
from dataclasses import asdict

import pytest
from lab_runs import BONUS
from launching import ROOT, environment
from transformers import PrinterCallback, TrainerCallback

from es_trl import ESGRPOTrainer
from es_trl.lab import BASE_MODEL, countdown_dataset, countdown_reward
from es_trl.tracking.console import HEADER_EVERY, Console, Extent
from es_trl.tracking.history import RolloutRecord


def record(rollout, **changes):
    known = {
        "stage": "stable",
        "target": 0.3,
        "entropy": 0.31234,
        "entropy_se": 0.0111,
        "control": -0.05,
        "reward": 0.5,
    }
    known |= {"completion_tokens": 5.96, "truncated_completions": 0.125, "seconds": 0.5, "curriculum_stage": 1}
    return asdict(RolloutRecord(rollout, 8 * rollout, **{**known, **changes}))


def lines(capsys, extent, records, console=None):
    console = console or Console(True, has_bar=False)
    console.begin(extent, 0)
    for each in records:
        console.rollout(each, each["global_step"] + 8, extent)
    console.close()
    return capsys.readouterr().out.splitlines()


def test_a_line_per_rollout(capsys):
    head, first, second = lines(capsys, Extent(2, 16, 1, True, False), [record(0), record(1, stage="anneal")])
    assert head.split() == "rollout phase target entropy control reward length cut seconds left".split()
    assert first.split() == "0/1 stable 0.300 0.312 ±0.011 -0.05 0.500 6.0 12% 0.50 0:00:00".split()
    assert second.split()[:2] == ["1/1", "anneal"] and len({len(line) for line in (head, first, second)}) == 1


def test_lines_by_updates_and_the_last_one(capsys):
    told = lines(capsys, Extent(10, 80, 24, True, False), map(record, range(10)))
    assert [line.split()[0] for line in told] == ["rollout", "0/9", "3/9", "6/9", "9/9"]
    told = lines(capsys, Extent(10, 80, 25, True, False), map(record, range(9)))  # stopped before its end
    assert [line.split()[0] for line in told] == ["rollout", "0/9", "4/9", "8/9"]
    told = lines(capsys, Extent(10, 80, float("inf"), True, False), map(record, range(10)))
    assert [line.split()[0] for line in told] == ["rollout", "0/9", "9/9"]


def test_200_rollouts_are_few_lines_with_their_header_again(capsys):
    told = lines(capsys, Extent(200, 1600, 16, True, True), map(record, range(200)))
    assert len(told) == 101 + 1 + 100 // HEADER_EVERY and max(map(len, told)) <= 100
    assert told[0] == told[HEADER_EVERY + 1] and "stage" in told[0]


def test_without_control_and_without_a_measurement(capsys):
    nothing = dict.fromkeys(("stage", "target", "entropy", "entropy_se", "control", "reward"))
    head, line = lines(capsys, Extent(1, 8, 1, False, False), [record(0, **nothing)])
    assert head.split() == "rollout entropy reward length cut seconds left".split()
    assert line.split()[:4] == ["0/0", "-", "-", "6.0"]
    head, line = lines(capsys, Extent(1, 8, 1, True, True), [record(0, **nothing)])
    assert line.split()[:6] == ["0/0", "1", "-", "-", "-", "-"]


def test_the_widest_line_fits_100_columns(capsys):
    wide = record(9_999, entropy=10.8, control=-1.23e-05, reward=-123.4567, completion_tokens=16384.0, seconds=3601.5)
    assert max(map(len, lines(capsys, Extent(10_000, 10**6, 1, True, True), [wide]))) <= 100


def test_time_left(capsys, monkeypatch):
    times = iter([0.0, 10.0, 20.0, 50.0])
    monkeypatch.setattr("es_trl.tracking.console.time.monotonic", lambda: next(times))
    told = lines(capsys, Extent(10, 80, 1, False, False), map(record, range(3)))
    assert [line.split()[-1] for line in told[1:]] == ["0:01:30", "0:01:20", "0:01:57"]  # 9 x 10, 8 x 10, 7 x 50/3


def test_events_are_said_once(capsys):
    console, alarm = Console(True, False), {"kind": "alarm", "message": "entropy " * 30}
    events = [{"kind": "hand_over", "message": "B takes over"}, {"kind": "push", "message": "failed"}]
    console.events(7, events)
    console.events(7, [*events, alarm])
    console.events(8, [])
    first, *rest = capsys.readouterr().out.splitlines()
    assert first == "rollout 7, hand-over: B takes over"
    assert " ".join(line.strip() for line in rest) == f"rollout 7, alarm: {alarm['message'].strip()}"
    assert max(map(len, rest)) <= 100 and all(line.startswith("    ") for line in rest[1:])


def test_markup_in_a_message_is_text(capsys):
    Console(True, False).events(0, [{"kind": "note", "message": "[red]\\[x] :smile: [/]"}])
    assert capsys.readouterr().out == "rollout 0, note: [red]\\[x] :smile: [/]\n"


def test_other_processes_say_nothing(capsys):
    console = Console(False, True)
    assert lines(capsys, Extent(2, 16, 1, True, False), [record(0)], console) == []
    console.events(0, [{"kind": "alarm", "message": "x"}])
    console.evaluation(8, {"eval_reward": 1.0}, "eval")
    assert capsys.readouterr().out == ""


def test_evaluation(capsys):
    metrics = {
        "eval_reward": 0.25,
        "eval_pass@8": 0.7512,
        "eval_runtime": 61.2,
        "eval_loss": 0.1,
        "eval_reward_std": 1.0,
    }
    Console(True, False).evaluation(80, metrics, "eval")
    named = {name.replace("eval", "eval_hard"): value for name, value in metrics.items()}
    Console(True, False).evaluation(80, named, "eval_hard")
    assert capsys.readouterr().out.splitlines() == [
        "evaluation at update 80: reward 0.250, pass@8 0.751, time 0:01:01",
        "evaluation of hard at update 80: reward 0.250, pass@8 0.751, time 0:01:01",
    ]
    Console(True, False).evaluation(80, {"eval_reward": None, "eval_pass@1": 0.0}, "eval")  # no completion got a reward
    assert capsys.readouterr().out == "evaluation at update 80: reward -, pass@1 0.000\n"


def test_a_run_says_its_rollouts_and_no_dictionaries(lab_trainer, capsys):
    trainer = lab_trainer(**BONUS, logging_steps=4)
    capsys.readouterr()
    trainer.train()
    said = capsys.readouterr()
    (first,) = [line for line in said.out.splitlines() if line.lstrip().startswith("0/1 ")]
    assert "1/1 " in said.out and "stable" in first
    assert "{" not in said.out.split("rollout   phase")[1] and "it/s" not in said.err


def test_evaluations_by_name_have_a_line_each(lab_args, capsys):
    args = lab_args(max_steps=6, eval_strategy="steps", eval_steps=4, eval_on_start=True, eval_pass_at_k=[1])
    named = {"a": countdown_dataset(2, seed=3), "b": countdown_dataset(2, seed=4)}
    ESGRPOTrainer(BASE_MODEL, countdown_reward, args, countdown_dataset(64, seed=1), named).train()
    lines = capsys.readouterr().out.splitlines()
    told = [line.partition(":")[0] for line in lines if line.startswith("evaluation")]
    assert told == [f"evaluation of {name} at update {update}" for update in (0, 4, 6) for name in "ab"]
    # the run ends inside its second rollout, which has a line
    assert [line.split()[0] for line in lines if line.split()[:1] in (["0/1"], ["1/1"])] == ["0/1", "1/1"]


def test_callbacks_of_ones_own_stay(lab_trainer):
    class Own(TrainerCallback):
        pass

    trainer = lab_trainer(callbacks=[PrinterCallback(), Own()], disable_tqdm=True)
    kinds = [type(each) for each in trainer.callback_handler.callbacks]
    assert kinds.count(PrinterCallback) == 1 and Own in kinds
    assert not any("Print" in kind.__name__ or "Progress" in kind.__name__ for kind in kinds_of_default(lab_trainer))


def kinds_of_default(lab_trainer):
    return [type(each) for each in lab_trainer().callback_handler.callbacks]


def read_terminal(ours):
    """All that is said on a pseudo-terminal, whose end is an error on Linux."""
    said = b""
    while True:
        try:
            said += os.read(ours, 65536)
        except OSError as error:
            assert error.errno == errno.EIO
            return said


COMMAND = [sys.executable, "-m", "es_trl", "train", "recipes/countdown_es.yaml", "--max_steps", "16", "--logging_steps"]


@pytest.mark.slow
def test_a_piped_run_is_a_plain_log(tmp_path):
    command = [*COMMAND, "8", "--output_dir", str(tmp_path)]
    log = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, check=True)
    text = log.stdout + log.stderr
    assert b"\r" not in text and b"\x1b" not in text
    assert [line.split()[0] for line in log.stdout.decode().splitlines() if "/1 " in line] == ["0/1", "1/1"]
    own = [line for line in log.stdout.decode().splitlines() if "[WARNING]" not in line and "are in /" not in line]
    # the others are DeepSpeed's, at its import, and the path of this test's folder
    assert max(map(len, own)) <= 100


@pytest.mark.slow
def test_a_run_goes_on_when_its_reader_goes(tmp_path):
    command = [*COMMAND, "1", "--output_dir", str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as run:
        while b"rollouts in the run" not in run.stdout.readline():
            pass
        run.stdout.close()
        told = run.stderr.read().decode()
    assert run.returncode == 0 and "Traceback" not in told
    assert len((tmp_path / "es_history.jsonl").read_text().splitlines()) == 2


@pytest.mark.slow
def test_a_terminal_has_a_bar_that_goes(tmp_path):
    ours, theirs = pty.openpty()
    command = [*COMMAND, "8", "--output_dir", str(tmp_path)]
    run = subprocess.Popen(
        command, cwd=ROOT, env=environment(TERM="xterm", COLUMNS="100"), stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    said = read_terminal(ours)
    assert run.wait() == 0
    assert "━".encode() in said and b"rollout 1" in said and b"1/1 " in said
    assert "━".encode() not in said[said.rindex(b"reward, first and last") :]
