"""`accelerate launch` of the shipped configurations on CPU processes, for tests."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import yaml
from lab_runs import LAB_ARGS


ROOT = Path(__file__).parent.parent
LIMIT = 240  # seconds that a launch may take: a run that hangs ends its test


def environment(**changes):
    """That of this process, with this tree's package and one thread."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **changes}


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def shipped(config, **changes):
    """A shipped configuration with other values, as a mapping."""
    return {**yaml.safe_load((ROOT / "accelerate_configs" / f"{config}.yaml").read_text()), **changes}


def written(folder, config):
    """The path of an accelerate configuration with this content."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "accelerate.yaml"
    path.write_text(yaml.safe_dump(config))
    return str(path)


def command(config_file, script, *words, port=None):
    """The command line of a launch."""
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(config_file)]
    return [*launcher, "--main_process_port", str(port or free_port()), str(ROOT / script), *words]


def run(command_line, **changes):
    """The finished launch: return code and output."""
    return subprocess.run(
        command_line,
        cwd=ROOT,
        env=environment(**changes),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LIMIT,
    )


def launch(folder, processes, config, worker="distributed_worker.py", **options):
    """What each process of a worker found; with the shipped configuration but for processes and precision."""
    # accelerate builds FSDP where it is not told to use the CPU (fsdp_on_cpu.py keeps it there)
    on_cpu = {} if config == "fsdp2" else {"use_cpu": True}
    options = {**LAB_ARGS, "use_cpu": bool(on_cpu), "output_dir": str(folder), **options}
    config_file = written(folder, shipped(config, num_processes=processes, mixed_precision="no", **on_cpu))
    done = run(command(config_file, Path("tests") / worker, json.dumps(options)))
    assert done.returncode == 0, done.stdout[-12000:]
    return [json.loads((folder / f"rank{rank}.json").read_text()) for rank in range(processes)]
