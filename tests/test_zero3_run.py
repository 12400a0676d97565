"""The lab recipe under ZeRO-3 by the shipped configuration: control, a switch, a kill, a resume, and plain weights."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from conftest import without_seconds
from launching import ENVIRONMENT, LIMIT, ROOT, command, run
from safetensors.torch import load_file


pytest.importorskip("deepspeed")
# 8 prompts x 8 completions on two processes, 4 updates a rollout, 8 rollouts of which the last 2 are the second stage's
SMALL = {
    "config": str(ROOT / "recipes" / "countdown_curriculum.yaml"),
    "per_device_train_batch_size": 8,
    "steps_per_generation": 4,
    "max_steps": 32,
    "save_steps": 6,  # inside rollouts, too
    "save_total_limit": 10,
    "logging_steps": 4,
}


def launch_of(folder, **options):
    """ZeRO-3 as shipped, but for the number of processes and the precision."""
    words = [str(word) for name, value in {**SMALL, **options}.items() for word in (f"--{name}", value)]
    given = command(
        ROOT / "accelerate_configs" / "zero3.yaml", "recipes/countdown_es.py", *words, "--output_dir", str(folder)
    )
    place = given.index("--main_process_port")
    return [*given[:place], "--num_processes", "2", "--mixed_precision", "no", *given[place:]]


def records(folder):
    return without_seconds([json.loads(line) for line in (folder / "es_history.jsonl").read_text().splitlines()])


def kill_after(folder, checkpoint):
    """Start a run, and kill launcher and processes at once when a checkpoint is whole."""
    with open(folder.with_suffix(".log"), "w") as log:
        running = subprocess.Popen(
            launch_of(folder), cwd=ROOT, env=ENVIRONMENT, stdout=log, stderr=log, start_new_session=True
        )
    until = time.monotonic() + LIMIT
    while not (folder / checkpoint / "trainer_state.json").exists():
        assert running.poll() is None and time.monotonic() < until, folder.with_suffix(".log").read_text()[-5000:]
        time.sleep(0.01)
    os.killpg(running.pid, signal.SIGKILL)
    assert running.wait() == -signal.SIGKILL


def test_control_switch_kill_resume_and_plain_weights(tmp_path):
    whole, again = tmp_path / "whole", tmp_path / "again"
    done = run(launch_of(whole))
    assert done.returncode == 0, done.stdout[-5000:]
    assert "DeepSpeed ZeRO-3 on 2 processes; this one holds 216,512 of 433,024 parameters" in done.stdout
    found = records(whole)
    assert [(record["num_generations"], record["max_completion_length"]) for record in found] == (
        [(8, 12)] * 6 + [(32, 16)] * 2
    )
    assert len({record["control"] for record in found}) > 4

    kill_after(again, "checkpoint-18")
    assert len(records(again)) < 8
    done = run(launch_of(again, resume_from_checkpoint="true"))
    assert done.returncode == 0, done.stdout[-5000:]
    assert records(again) == found
    weights = load_file(whole / "model.safetensors")
    resumed = load_file(again / "model.safetensors")
    assert weights.keys() == resumed.keys()
    assert all(torch.equal(weights[name], resumed[name]) for name in weights)

    last = again / "checkpoint-32"
    subprocess.run(
        [sys.executable, str(last / "zero_to_fp32.py"), str(last), str(tmp_path / "plain"), "--safe_serialization"],
        env=ENVIRONMENT,
        check=True,
        capture_output=True,
    )
    plain = load_file(tmp_path / "plain" / "model.safetensors")
    assert all(torch.equal(plain[name], resumed[name]) for name in resumed)
