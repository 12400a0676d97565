"""The runs of a sweep: resumed after kills to the uninterrupted result, one by index, busy ones and failing ones."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from filelock import FileLock
from launching import LIMIT, ROOT, environment
from made_up_sweep import settings_of, write_evaluation

from es_trl.__main__ import main as cli
from es_trl.sweep import runs as one_run
from es_trl.sweep.sweep import sweep


GRID = {"learning_rate": ["1e-4", "1e-3"]}
COUNTDOWN = ROOT / "recipes" / "countdown_es.yaml"
# 4 rollouts of 4 prompts x 4 completions, with a checkpoint in the middle
TINY = (
    *("--per_device_train_batch_size", "4", "--steps_per_generation", "4", "--num_generations", "4"),
    *("--max_steps", "16", "--save_steps", "4"),
)
WORDS = (*TINY, "--grid", "learning_rate=1e-4,1e-3", "--n", "4", "--k", "1,4", "--split", "train[:6]")


def command(folder, *words):
    return [sys.executable, "-m", "es_trl", "sweep", str(COUNTDOWN), "--output_dir", str(folder), *WORDS, *words]


def make(folder, *words):
    """Run a sweep to its end, and return what it did."""
    return subprocess.run(
        command(folder, *words), cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=2 * LIMIT
    )


def kill_when(folder, condition):
    """Start a sweep, and kill it alone when the condition holds; its children must end, too."""
    process = subprocess.Popen(
        command(folder), cwd=ROOT, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    end = time.monotonic() + 2 * LIMIT
    while not condition():
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()


def results_in(folder):
    return json.loads((folder / "sweep_results.json").read_text())


def counts_in(folder):
    return {
        str(path.relative_to(folder)): json.loads(path.read_text())["correct"]
        for path in sorted(folder.rglob("passk.json"))
    }


@pytest.mark.slow
def test_a_sweep_that_is_killed_ends_with_the_uninterrupted_result(tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    done = make(whole)
    assert (done.returncode, "\r" in done.stdout) == (0, False), done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("run ")]
    assert [line.partition(":")[0] for line in lines] == [
        "run 0 of 0 to 1, learning_rate 1e-4, seed 0",
        "run 1 of 0 to 1, learning_rate 1e-3, seed 0",
    ]
    first, second = (cut / f"learning_rate={rate}" / "seed-0" for rate in ("1e-4", "1e-3"))
    kill_when(cut, lambda: (first / "checkpoint-8" / "trainer_state.json").exists())  # inside a training
    assert not (first / "_sweep_trained.json").exists()
    kill_when(cut, (first / "_sweep_trained.json").exists)  # between training and evaluation
    weights = (first / "model.safetensors").stat().st_mtime_ns
    kill_when(cut, (second / "es_history.jsonl").exists)  # inside another training, before its first checkpoint
    done = make(cut)
    assert done.returncode == 0 and "learning_rate 1e-4, seed 0: finished before, pass@1" in done.stdout, done.stderr
    assert (first / "model.safetensors").stat().st_mtime_ns == weights  # it was not trained again
    assert results_in(cut) == results_in(whole) and counts_in(cut) == counts_in(whole) and len(counts_in(cut)) == 2
    assert (cut / "sweep.png").read_bytes() == (whole / "sweep.png").read_bytes()
    assert b"\r" not in (first / "log.txt").read_bytes()


@pytest.mark.slow
def test_a_model_whose_save_was_cut_is_saved_again(tmp_path):
    """And an index makes one run of the sweep, whose others are listed as missing or as failed."""
    done = make(tmp_path, "--index", "1")
    assert done.returncode == 0 and "missing: run 0: not finished" in done.stdout
    run = tmp_path / "learning_rate=1e-3" / "seed-0"
    expected, counts = (run / "model.safetensors").read_bytes(), counts_in(tmp_path)
    for name in ("_sweep_trained.json", "model.safetensors", "eval-sweep/passk.json", "eval-sweep/samples.jsonl"):
        (run / name).unlink()
    (tmp_path / "learning_rate=1e-4" / "seed-0").mkdir(parents=True)
    (tmp_path / "learning_rate=1e-4" / "seed-0" / "es_history.jsonl").mkdir()  # no history can be written there
    done = make(tmp_path)
    assert done.returncode == 1
    assert (run / "model.safetensors").read_bytes() == expected and counts_in(tmp_path) == counts
    log = (tmp_path / "learning_rate=1e-4" / "seed-0" / "log.txt").read_text().splitlines()
    assert f"missing: run 0 (learning_rate 1e-4, seed 0): failed: {log[-1]}" in done.stdout
    (missing,) = results_in(tmp_path)["missing"]
    assert missing["reason"] == f"failed: {log[-1]}" and len(results_in(tmp_path)["points"]) == 1


# --- without processes ------------------------------------------------------------------------------------------------


@pytest.fixture
def executed(monkeypatch):
    """The commands that runs would start, which succeed at once and leave what the real ones leave."""
    commands = []

    def execute(name, words, folder):
        commands.append((name, words))
        if name == "train":
            (folder / one_run._TRAINED).write_text("{}")
        else:
            run = next(run for run in settings_of(GRID).runs(folder.parents[1]) if run.folder == folder)
            write_evaluation(run, [1, 2])

    monkeypatch.setattr(one_run, "_execute", execute)
    monkeypatch.setattr("es_trl.sweep.sweep.check_points", lambda *args: None)
    return commands


def test_the_commands_of_a_run(executed, tmp_path):
    settings = settings_of(GRID, options=["--max_steps", "8"], split="test")
    assert sweep(settings, COUNTDOWN, tmp_path, 1)[1]
    folder = tmp_path / "learning_rate=1e-3" / "seed-0"
    train = [str(tmp_path / "recipe.yaml"), "--max_steps", "8", "--learning_rate=1e-3", "--seed=0"]
    place = ["--output_dir", str(folder / "eval-sweep")]
    numbers = ["--data=problems.jsonl", "--split=test", "--n", "4", "--k", "1,4"]
    assert executed == [
        ("train", [*train, f"--output_dir={folder}"]),
        ("eval", [str(folder), *numbers, *place]),
    ]
    sweep(settings, COUNTDOWN, tmp_path)
    assert len(executed) == 4 and executed[2][1][3] == "--learning_rate=1e-4"  # the finished run was not made again


def test_what_is_trained_is_evaluated_only(executed, tmp_path):
    run = settings_of(GRID).runs(tmp_path)[0]
    run.folder.mkdir(parents=True)
    (run.folder / one_run._TRAINED).write_text("{}")
    sweep(settings_of(GRID), COUNTDOWN, tmp_path, 0)
    assert [name for name, _ in executed] == ["eval"]


@pytest.mark.parametrize("lock", ["_sweep_run.lock", "_es_run.lock"])
def test_a_run_of_another_process_is_passed_over(lock, executed, tmp_path, capsys):
    run = settings_of(GRID).runs(tmp_path)[0]
    run.folder.mkdir(parents=True)
    with FileLock(run.folder / lock):
        text, succeeded = sweep(settings_of(GRID), COUNTDOWN, tmp_path)
    assert "run 0 of 0 to 1, learning_rate 1e-4, seed 0: another process is making it" in capsys.readouterr().out
    assert succeeded and "missing: run 0 (learning_rate 1e-4, seed 0): another process is making it" in text
    assert [name for name, _ in executed] == ["train", "eval"]  # of the other run


def test_a_failure_is_named_by_other_processes_until_the_run_starts_again(executed, monkeypatch, tmp_path):
    succeeding = one_run._execute
    monkeypatch.setattr(one_run, "_execute", lambda *args: "error: out of memory")
    assert not sweep(settings_of(GRID), COUNTDOWN, tmp_path, 1)[1]
    monkeypatch.setattr(one_run, "_execute", succeeding)
    text, succeeded = sweep(settings_of(GRID), COUNTDOWN, tmp_path, 0)
    assert succeeded and "missing: run 1 (learning_rate 1e-3, seed 0): failed: error: out of memory" in text
    text, succeeded = sweep(settings_of(GRID), COUNTDOWN, tmp_path)
    assert succeeded and "missing" not in text


@pytest.mark.slow
def test_a_failing_process_gives_the_last_line_of_its_log(tmp_path):
    assert one_run._execute("train", ["nothing.yaml"], tmp_path).startswith("error: the recipe nothing.yaml cannot be")
    (tmp_path / "log.txt").write_text("")
    assert not (tmp_path / one_run._TRAINED).exists()


def test_the_command_fails_where_a_run_has_failed(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(one_run, "_execute", lambda *args: "error: out of memory")
    words = ["--output_dir", str(tmp_path), "--grid", "learning_rate=1e-4,1e-3"]
    with pytest.raises(SystemExit) as ended:
        cli(["sweep", str(COUNTDOWN), *words])
    printed = capsys.readouterr().out
    assert ended.value.code == 1 and printed.count("failed: error: out of memory") == 4
    assert results_in(tmp_path)["points"] == [] and os.listdir(tmp_path / "learning_rate=1e-4")
