"""The lab recipe under ZeRO-3 by the shipped configurations, on one machine and on two, through kills and resumes."""

import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
import torch
from lab_runs import without_seconds
from launching import LIMIT, ROOT, command, environment, free_port, run, shipped, written
from safetensors.torch import load_file


pytestmark = pytest.mark.slow


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
BOUND = 60  # seconds within which a run on several machines ends when one of its processes has died


def launch_of(folder, launcher="zero3", **options):
    """ZeRO-3 as shipped, but for the number of processes and the precision."""
    file, *words = launcher.split()
    recipe = [str(word) for name, value in {**SMALL, **options}.items() for word in (f"--{name}", value)]
    line = command(ROOT / "accelerate_configs" / f"{file}.yaml", "recipes/countdown_es.py", *recipe)
    line += ["--output_dir", str(folder)]
    place = line.index("--main_process_port")
    port = [] if "--main_process_port" in words else line[place : place + 2]
    return [*line[:place], "--num_processes", "2", "--mixed_precision", "no", *words, *port, *line[place + 2 :]]


def start(line, log):
    """A launch in a process group of its own."""
    with open(log, "w") as file:
        return subprocess.Popen(line, cwd=ROOT, env=environment(), stdout=file, stderr=file, start_new_session=True)


def wait_for(path, launches, logs):
    until = time.monotonic() + LIMIT
    while not path.exists():
        alive = all(own.poll() is None for own in launches)
        assert alive and time.monotonic() < until, "".join(log.read_text()[-3000:] for log in logs)
        time.sleep(0.01)


def records(folder):
    return without_seconds([json.loads(line) for line in (folder / "es_history.jsonl").read_text().splitlines()])


def check_equal(folder, whole):
    """History and weights to the last bit."""
    assert records(folder) == records(whole)
    own, other = (load_file(path / "model.safetensors") for path in (folder, whole))
    assert own.keys() == other.keys() and all(torch.equal(own[name], other[name]) for name in own)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The run that nothing happens to."""
    folder = tmp_path_factory.mktemp("zero3") / "whole"
    done = run(launch_of(folder))
    assert done.returncode == 0, done.stdout[-5000:]
    assert "DeepSpeed ZeRO-3 on 2 processes; this process holds 216,512 of 433,024 parameters" in done.stdout
    return folder


def test_control_and_switch(whole):
    found = records(whole)
    sizes = [(record["num_generations"], record["max_completion_length"]) for record in found]
    assert sizes == [(8, 12)] * 6 + [(32, 16)] * 2
    assert len({record["control"] for record in found}) > 4


def test_kill_resume_and_plain_weights(whole, tmp_path):
    again, log = tmp_path / "again", tmp_path / "log"
    running = start(launch_of(again), log)
    wait_for(again / "checkpoint-18" / "trainer_state.json", [running], [log])
    os.killpg(running.pid, signal.SIGKILL)  # launcher and processes at once
    assert running.wait() == -signal.SIGKILL and len(records(again)) < 8
    done = run(launch_of(again, resume_from_checkpoint="true"))
    assert done.returncode == 0, done.stdout[-5000:]
    check_equal(again, whole)
    times = {path: path.stat().st_mtime_ns for path in again.rglob("*") if path.name != "_es_run.lock"}
    done = run(launch_of(again, resume_from_checkpoint="true"))  # it is finished
    assert done.returncode == 0 and "the run is finished: " in done.stdout, done.stdout[-5000:]
    assert {path: path.stat().st_mtime_ns for path in again.rglob("*") if path.name != "_es_run.lock"} == times

    last, plain = again / "checkpoint-32", tmp_path / "plain"
    convert = [sys.executable, str(last / "zero_to_fp32.py"), str(last), str(plain), "--safe_serialization"]
    subprocess.run(convert, env=environment(), check=True, capture_output=True)
    converted, saved = load_file(plain / "model.safetensors"), load_file(again / "model.safetensors")
    assert all(torch.equal(converted[name], saved[name]) for name in saved)


def on_two_machines(folder, tmp_path, name, **options):
    """The two launches of a run whose machines are both this one, and their logs."""
    port = free_port()
    launches, logs = [], [tmp_path / f"{name}{rank}.log" for rank in (0, 1)]
    for rank, log in enumerate(logs):
        address = f"--machine_rank {rank} --main_process_ip 127.0.0.1 --main_process_port {port}"
        launcher = f"zero3_multinode --num_machines 2 {address}"
        launches.append(start(launch_of(folder, launcher, **options), log))
    return launches, logs


def test_two_machines_of_which_one_dies(whole, tmp_path):
    folder = tmp_path / "machines"
    launches, logs = on_two_machines(folder, tmp_path, "first")
    wait_for(folder / "checkpoint-12" / "trainer_state.json", launches, logs)
    (worker,) = psutil.Process(launches[1].pid).children()
    worker.kill()
    assert [own.wait(timeout=BOUND) for own in launches] == [1, 1]
    assert f"Signal 9 (SIGKILL) received by PID {worker.pid}" in logs[1].read_text()
    left = logs[0].read_text()
    assert "process 0 of 2 lost contact with another process after update" in left
    assert f"to resume from the latest whole checkpoint in {folder}" in left

    launches, logs = on_two_machines(folder, tmp_path, "second", resume_from_checkpoint="true")
    assert [own.wait(timeout=LIMIT) for own in launches] == [0, 0], "".join(log.read_text()[-3000:] for log in logs)
    check_equal(folder, whole)


SRUN = """#!/bin/bash
# two nodes on this machine, in the place of Slurm's own
while [[ $1 == --* ]]; do shift; done
SLURM_NODEID=0 "$@" & SLURM_NODEID=1 "$@" && wait $!
"""


def test_the_slurm_script_starts_a_launch_on_each_node(tmp_path):
    commands = tmp_path / "bin"
    commands.mkdir()
    (commands / "srun").write_text(SRUN)
    (commands / "scontrol").write_text("#!/bin/bash\necho 127.0.0.1\necho other\n")
    (commands / "accelerate").write_text(
        f'#!/bin/bash\nexec {sys.executable} -m accelerate.commands.launch "${{@:2}}"\n'
    )
    for path in commands.iterdir():
        path.chmod(0o755)
    config = written(tmp_path, shipped("zero3_multinode", mixed_precision="no"))
    slurm = {"PATH": f"{commands}:{os.environ['PATH']}", "ACCELERATE_CONFIG": config, "SLURM_NNODES": "2"}
    slurm |= {"SLURM_JOB_ID": str(free_port()), "SLURM_JOB_NODELIST": "node[0-1]", "SLURM_GPUS_ON_NODE": "1"}
    words = f"--per_device_train_batch_size 8 --steps_per_generation 4 --max_steps 4 --output_dir {tmp_path / 'run'}"
    done = run(["bash", "recipes/slurm.sh", "recipes/countdown_es.py", *words.split()], **slurm)
    assert done.returncode == 0, done.stdout[-5000:]
    assert "DeepSpeed ZeRO-3 on 2 processes" in done.stdout and len(records(tmp_path / "run")) == 1
