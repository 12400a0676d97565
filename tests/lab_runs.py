"""What short runs on the lab have in common, in this folder and in tests_vllm."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import yaml


ROOT = Path(__file__).parent.parent

# 4 prompts x 4 rollouts, 4 updates a rollout; the lab's base, small enough to train in tests
LAB_ARGS = {
    "per_device_train_batch_size": 4,
    "gradient_accumulation_steps": 1,
    "steps_per_generation": 4,
    "num_generations": 4,
    "max_completion_length": 12,
    "max_steps": 8,
    "learning_rate": 1e-3,
    "epsilon_high": 0.28,
    "top_k": 0,
    "logging_steps": 1,
    "save_strategy": "no",
    "report_to": "none",
    "use_cpu": True,
    "bf16": False,
    "gradient_checkpointing": False,
    "disable_tqdm": True,
    "seed": 3,
}
BONUS = {
    "entropy_schedule": {"kind": "constant", "target": 0.5},
    "entropy_controller": {"kind": "pid", "kp": 1.0, "ki": 0.1},
    "entropy_actuator": {"kind": "entropy_bonus", "low": -0.5, "high": 0.5},
}


def without_seconds(records):
    """History records without the only field that differs between equal runs."""
    return [{name: value for name, value in record.items() if name != "seconds"} for record in records]


def tmp_config(folder, config):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "accelerate.yaml"
    path.write_text(yaml.safe_dump(config))
    return str(path)


def launch(folder, processes, config, worker="distributed_worker.py", **options):
    options = {**LAB_ARGS, "output_dir": str(folder), **options}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shipped = yaml.safe_load((ROOT / "accelerate_configs" / f"{config}.yaml").read_text())
    on_cpu = tmp_config(folder, {**shipped, "num_processes": processes, "mixed_precision": "no", "use_cpu": True})
    command = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", on_cpu]
    command += ["--main_process_port", str(port)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command += [str(ROOT / "tests" / worker), json.dumps(options)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-12000:]
    return [json.loads((folder / f"rank{rank}.json").read_text()) for rank in range(processes)]
