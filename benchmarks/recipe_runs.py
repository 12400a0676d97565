"""Helpers of the benchmarks of whole recipes: a run on the lab, pass@k of its model, and the spread over seeds."""

import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from es_trl.tracking.history import HISTORY_FILE, read_history


ROOT = Path(__file__).parent.parent
SEEDS = (0, 1, 2)


def run_recipe(recipe: str, options: list[str], name: str, results: Path) -> None:
    """Train one run of a recipe and evaluate its model; history and pass@k go to `results`."""
    run_dir = ROOT / "runs" / name
    command = [str(ROOT / "recipes" / "countdown_es.py"), "--config", str(ROOT / "recipes" / recipe)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, *command, "--output_dir", str(run_dir), *options], check=True, env=environment)
    collect(run_dir, name, results)


def collect(run_dir: Path, name: str, results: Path) -> None:
    """Copy the history of a finished run, and evaluate its model on prompts that are drawn with another seed."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.set_num_threads(1)  # on two shared cores, two threads are many times slower than one
    results.mkdir(parents=True, exist_ok=True)
    shutil.copy(run_dir / HISTORY_FILE, results / f"{name}.jsonl")
    model, tokenizer = AutoModelForCausalLM.from_pretrained(run_dir), AutoTokenizer.from_pretrained(run_dir)
    scores: dict[str, Any] = {f"{count} numbers": score(model, tokenizer, count, 500) for count in (3, 4)}
    scores["versions"] = {p: version(p) for p in ("torch", "transformers", "trl")}
    (results / f"{name}.json").write_text(json.dumps(scores, indent=2) + "\n")


def score(model: Any, tokenizer: Any, count: int, num_prompts: int) -> dict[str, float]:
    """Return pass@1, pass@8 and pass@64 of a model on prompts of `count` numbers that are drawn with another seed."""
    from es_trl.data.tasks import EVALUATION_SEED
    from es_trl.evaluation import count_correct, summarize
    from es_trl.lab import countdown_dataset, countdown_reward

    dataset = countdown_dataset(num_prompts, seed=EVALUATION_SEED, num_numbers=(count,))
    counts = count_correct(model, tokenizer, dataset, countdown_reward, samples=64)
    return {name: round(value, 4) for name, value in summarize(counts, 64).items()}


def load(results: Path, arm: str) -> list[tuple[list[dict], dict]]:
    """Return the history and pass@k of each seed of an arm."""
    names = [results / f"{arm}_seed{seed}" for seed in SEEDS]
    return [(read_history(n.with_suffix(".jsonl")), json.loads(n.with_suffix(".json").read_text())) for n in names]


def spread(values: list[float]) -> str:
    """Return mean and standard deviation over seeds."""
    return f"{mean(values):.3f} ± {stdev(values):.3f}"


def dress(axis: Any, field: str, window: int) -> None:
    """Set the label and the grid of an axis that shows a field of the history."""
    axis.set_ylabel("entropy, nats" if field == "entropy" else f"reward, mean of {window} rollouts")
    axis.grid(alpha=0.25, linewidth=0.6)
    axis.spines[["top", "right"]].set_visible(False)


def rms(records: list[dict]) -> float:
    """Return the root-mean-square error, nats."""
    return mean(record["error"] ** 2 for record in records) ** 0.5
