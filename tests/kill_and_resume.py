"""Kills a lab run with SIGKILL at random moments, resumes it, and compares it with one that was left alone.

    python tests/kill_and_resume.py --kills 20 --processes 2 --seed 0

The run saves at every update and so is killed inside saves as well as outside of them; it has four updates a rollout,
a switch of data, sizes and lengths half way, and dynamic sampling. What must be equal is every field of its history but
the seconds, and the last checkpoint's weights. Processes are forked from this one, which has imported everything.
"""

import argparse
import json
import os
import random
import shutil
import signal
import socket
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

import torch
from conftest import LAB_ARGS  # which pins the threads, too
from safetensors.torch import load_file

from es_trl import ESGRPOConfig, ESGRPOTrainer
from es_trl.checkpoints.run_folder import find_start
from es_trl.lab import BASE_MODEL, countdown_dataset, countdown_reward


ROLLOUTS, UPDATES = 6, 4  # a rollout
OPTIONS = {
    **LAB_ARGS,
    "max_steps": ROLLOUTS * UPDATES,
    "lr_scheduler_type": "linear",
    "logging_steps": 3,
    "save_strategy": "steps",
    "save_steps": 1,
    "save_total_limit": 2,
    "dynamic_sampling_tries": 2,
    "overlong_cache": 3,
    "entropy_schedule": {"kind": "stable_anneal", "target": 0.5, "end": 0.2, "ratio": 0.5},
    "entropy_actuator": {"kind": "entropy_bonus", "low": -0.5, "high": 0.5},
    "curriculum": [
        {
            "start": "onset",
            "data": {"hard": 1, "train": 1},
            "num_generations": 8,
            "max_completion_length": 16,
            "hold": "prompts",
        }
    ],
}


def train(folder: Path, processes: int) -> None:
    """One process of a run, from its last whole checkpoint where there is one."""
    args = ESGRPOConfig(str(folder), **{**OPTIONS, "per_device_train_batch_size": 4 // processes})
    datasets = {"train": countdown_dataset(24, seed=1), "hard": countdown_dataset(24, seed=2, num_numbers=(4,))}
    trainer = ESGRPOTrainer(BASE_MODEL, countdown_reward, args, train_dataset=datasets)
    trainer.train(resume_from_checkpoint=has_checkpoint(folder))
    trainer.accelerator.wait_for_everyone()


def has_checkpoint(folder: Path) -> bool:
    """Whether a save was finished."""
    return any((path / "trainer_state.json").exists() for path in folder.glob("checkpoint-*"))


def start(folder: Path, processes: int) -> list[int]:
    """Fork the processes of a run."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    pids = []
    for rank in range(processes):
        pid = os.fork()
        if pid:
            pids.append(pid)
            continue
        log = os.open(folder / f"log{rank}.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.environ["ACCELERATE_USE_CPU"] = "true"
        if processes > 1:
            os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(processes)}
            os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        status = 1
        try:
            torch.set_num_threads(1)
            train(folder, processes)
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    return pids


def finish(folder: Path, pids: list[int]) -> None:
    """Wait for a run to end by itself."""
    for pid in pids:
        _, status = os.waitpid(pid, 0)
        if status != 0:
            logs = "\n".join(path.read_text()[-3000:] for path in sorted(folder.glob("log*.txt")))
            raise RuntimeError(f"a process ended with status {status}:\n{logs}")


def ended(pids: list[int]) -> bool:
    """Whether a process has ended by itself."""
    return any(os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) for pid in pids)


def wait_for(checkpoint: Path, pids: list[int]) -> None:
    """Wait until a save has begun, or its run has ended."""
    while not checkpoint.exists() and not ended(pids):
        time.sleep(0.001)


def kill(pids: list[int], rng: random.Random) -> bool:
    """Kill every process, one shortly after the other, as a machine that goes down does; `False` where one ended."""
    if ended(pids):
        return False
    for pid in rng.sample(pids, len(pids)):
        os.kill(pid, signal.SIGKILL)
        time.sleep(rng.random() * 0.02)
    for pid in pids:
        os.waitpid(pid, 0)
    return True


def result(folder: Path) -> tuple[list[dict], dict[str, torch.Tensor]]:
    """History without seconds, and weights, of a finished run."""
    records = [json.loads(line) for line in (folder / "es_history.jsonl").read_text().splitlines()]
    last = folder / f"checkpoint-{ROLLOUTS * UPDATES}"
    return [{k: v for k, v in r.items() if k != "seconds"} for r in records], load_file(last / "model.safetensors")


def last_step(folder: Path) -> int:
    """Updates made at the last whole checkpoint, 0 where there is none."""
    if not has_checkpoint(folder):
        return 0
    return int(find_start(True, folder).rpartition("-")[2])


def where(folder: Path) -> str:
    """What the kill left: the place of the last whole checkpoint in the run, and whether a save was cut short."""
    saves = [path for path in folder.glob("checkpoint-*") if not (path / "trainer_state.json").exists()]
    step = last_step(folder)
    if step == 0:
        return "before the first checkpoint"
    stage = "before" if step < ROLLOUTS // 2 * UPDATES else "at" if step == ROLLOUTS // 2 * UPDATES else "after"
    place = "at a boundary" if step % UPDATES == 0 else "inside a rollout"
    return f"{place}, {stage} the switch" + (", in a save" if saves else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng = random.Random(args.seed)
    root = Path(tempfile.mkdtemp())
    whole = root / "whole"
    whole.mkdir()
    began = time.perf_counter()
    finish(whole, start(whole, args.processes))
    pace = (time.perf_counter() - began) / (ROLLOUTS * UPDATES)  # seconds from one save to the next
    expected, weights = result(whole)
    assert [r["num_generations"] for r in expected] == [4] * (ROLLOUTS // 2) + [8] * (ROLLOUTS // 2)
    places: Counter[str] = Counter()
    runs = 0
    while sum(places.values()) < args.kills:
        folder = root / f"run{runs}"
        folder.mkdir()
        for _ in range(min(rng.randint(1, 3), args.kills - sum(places.values()))):
            step = rng.randint(last_step(folder) + 1, ROLLOUTS * UPDATES)
            pids = start(folder, args.processes)
            wait_for(folder / f"checkpoint-{step}", pids)
            time.sleep(rng.random() * pace)
            if not kill(pids, rng):
                break
            places[where(folder)] += 1
        else:
            pids = start(folder, args.processes)
        finish(folder, pids)
        found, found_weights = result(folder)
        for own, other in zip(found, expected, strict=True):
            differ = {name: (own[name], other[name]) for name in other if own[name] != other[name]}
            assert not differ, f"rollout {own['rollout']} of {folder}: {differ}"
        assert all(torch.equal(found_weights[name], value) for name, value in weights.items())
        runs += 1
    shutil.rmtree(root)
    report = {"kills": sum(places.values()), "runs": runs, "processes": args.processes, "places": dict(places)}
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    sys.exit(main())
