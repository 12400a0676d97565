"""The exit codes of finished recipes on two CPU processes: `python benchmarks/clean_exit.py`.

gloo's worker thread can release its last tensor while Python shuts down. This would abort the process after all work is
done.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path


ROOT = Path(__file__).parent.parent
OPTIONS = (
    "--per_device_train_batch_size 8 --steps_per_generation 2 --max_steps 2 --save_strategy no --num_generations 4"
)


def launch(kind: str, folder: str) -> int:
    """Return the exit code of one launch."""
    command = [sys.executable, "-m", "accelerate.commands.launch", "--mixed_precision", "no", "--num_processes", "2"]
    command += ["--config_file", str(ROOT / "accelerate_configs" / f"{kind}.yaml"), "--main_process_port", "0"]
    command += [str(ROOT / "recipes" / "countdown_es.py"), *OPTIONS.split(), "--output_dir", folder]
    return subprocess.run(command, cwd=ROOT, capture_output=True).returncode


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--launches", type=int, default=50, help="launches of each kind")
    count = parser.parse_args().launches
    lines = [
        "# Exit codes of recipes whose work is done",
        "",
        "| two CPU processes, over gloo | launches | ended with 0 |",
    ]
    lines.append("|---|---|---|")
    for name, kind in (("DDP", "ddp"), ("ZeRO-3", "zero3")):
        began, codes = time.perf_counter(), Counter()
        for _ in range(count):
            with tempfile.TemporaryDirectory() as folder:
                codes[launch(kind, folder)] += 1
        lines.append(f"| {name} | {count} | {codes[0]} |")
        print(name, dict(codes), f"{(time.perf_counter() - began) / count:.1f} s each", flush=True)
    folder = ROOT / "results" / "clean_exit"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "summary.md").write_text("\n".join([*lines, "", "Made by `python benchmarks/clean_exit.py`.", ""]))


if __name__ == "__main__":
    main()
