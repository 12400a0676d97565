"""Train and evaluate the arms that the paper's figures need, each run in a process of its own with one thread.

python experiments/run.py                      # every arm of the Countdown lab, five seeds: about 16 core-hours
python experiments/run.py fig2 --seeds 3       # those of one figure
python experiments/run.py fig2 --model smollm  # on the model of `python -m es_trl.lab.smollm`: 45 minutes per run
python experiments/run.py --model smollm --gpu --workers 8  # eight runs at a time on one GPU

It begins with an estimate of the time; `--plan` ends there. Runs that are in the data are skipped, so the same command
goes on where it was stopped. A run that was cut starts anew. Weights are not kept.
"""

import argparse
import contextlib
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any


os.environ["OMP_NUM_THREADS"] = "1"  # before torch
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["TQDM_DISABLE"] = "1"
sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))

import torch
import yaml
from arms import KEY, MODELS, ROOT, Model, core_seconds, is_trained
from control_report import load
from injected import machine
from lab_run import rounded, run_missing

from es_trl.common.refusals import run as refusing
from es_trl.evaluation.evaluating import evaluate
from es_trl.evaluation.settings import with_defaults
from es_trl.recipe import RecipeParser
from es_trl.run import run_recipe
from es_trl.tracking.history import HISTORY_FILE, read_history


LOGS = ROOT / "runs" / "reproduction"
AT_ONCE = {"lab": 1024, "smollm": 128}  # completions of an evaluation
SERIES = ("target", "entropy", "entropy_se", "control", "reward", "completion_tokens")


@dataclass(frozen=True)
class Job:
    """A run: an arm of a model with a seed. `changes` are keys that replace those of its recipe."""

    model: Model
    arm: str
    seed: int
    changes: dict[str, Any]


def run(job: Job) -> dict[str, Any]:
    """Train and evaluate one run, and return its line of the data. What it prints goes to runs/reproduction."""
    torch.set_num_threads(1)
    os.chdir(ROOT)  # as in the recipes, from which the names of files are
    log = LOGS / f"{job.model.name}-{job.arm}-{job.seed}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, open(log, "w") as file:
        with contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
            recipe = job.model.recipe_of(job.arm, {**job.changes, "seed": job.seed, "output_dir": f"{folder}/run"})
            failure = train(recipe, Path(folder)) if is_trained(recipe) else None
            scores = None if failure else pass_at_k(job, recipe, Path(folder))
        history = Path(recipe["output_dir"]) / HISTORY_FILE
        records = read_history(history) if history.exists() else []
    return {
        "arm": job.arm,
        "seed": job.seed,
        "recipe": job.model.digest_of(job.arm),
        "rollouts": len(records),
        "failure": failure,
        "hours": rounded((time.monotonic() - begun) / 3600),
        "on_gpu": not recipe["use_cpu"],
        **machine(not recipe["use_cpu"]),
        "samples": job.model.evaluation["n"],
        "pass@k": scores,
        **{name: [rounded(record[name]) for record in records] for name in SERIES},
    }


def train(recipe: dict[str, Any], folder: Path) -> str | None:
    """Train a recipe, and return the error that broke its policy or `None`."""
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    try:
        run_recipe(["--config", str(folder / "recipe.yaml")])
    except ValueError as error:
        if not (Path(recipe["output_dir"]) / HISTORY_FILE).exists():
            raise  # it has not begun, so the recipe is at fault
        return str(error)
    return None


def pass_at_k(job: Job, recipe: dict[str, Any], folder: Path) -> dict[str, dict[str, float]]:
    """Return pass@k of the final model on the held-out prompts, by the title of the data and k."""
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    base = RecipeParser().parse(["--config", str(folder / "recipe.yaml")]).model.model_name_or_path
    own, scores = job.model.evaluation, {}
    for place, (title, name) in enumerate(own["data"].items()):
        given = {
            "model": recipe["output_dir"] if is_trained(recipe) else base,
            "dataset_name": name,
            "dataset_split": f"train[:{own['problems']}]",
            "n": own["n"],
            "ks": tuple(own["k"]),
            "batch_size": AT_ONCE[job.model.name],
            "seed": job.seed,
        }
        found = evaluate(with_defaults(given, recipe), folder / f"eval-{place}")
        scores[title] = {str(k): rounded(each.value) for k, each in found.pass_at_k.items()}
    return scores


def jobs_of(model: Model, figures: list[str], seeds: int, on_gpu: bool = False) -> dict[tuple, Job]:
    """Return the runs of some figures by their key, the first seed first, so that every arm has one soon."""
    arms = [(arm, model.digest_of(arm)) for arm in model.arms_of(figures)]
    changes = {"use_cpu": False} if on_gpu else {}
    return {(arm, seed, digest): Job(model, arm, seed, changes) for seed in range(seeds) for arm, digest in arms}


def hours_of(jobs: dict[tuple, Job], done: dict[tuple, dict[str, Any]]) -> float:
    """Return the core-hours of the runs that are not done: as the arm's finished runs, or else projected."""
    missing = {key: job for key, job in jobs.items() if key not in done}
    hours = {}
    with tempfile.TemporaryDirectory() as folder:
        for arm, job in {job.arm: job for job in missing.values()}.items():
            digest = job.model.digest_of(arm)
            taken = [each["hours"] for key, each in done.items() if key[::2] == (arm, digest) and not each["on_gpu"]]
            path, recipe = Path(folder) / f"{arm}.yaml", job.model.recipe_of(arm, job.changes)
            path.write_text(yaml.safe_dump(recipe))
            hours[arm] = mean(taken) if taken else core_seconds(job.model, recipe, path) / 3600
    return sum(hours[job.arm] for job in missing.values())


def main(argv: list[str]) -> None:
    """Print the estimate and make the runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("figures", nargs="*", metavar="FIGURE", help="fig2, fig3 and so on; all where none is named")
    parser.add_argument("--model", default="lab", choices=MODELS, help="lab where unset")
    parser.add_argument("--seeds", type=int, default=5, help="seeds per arm; 5 where unset")
    parser.add_argument("--workers", type=int, default=1, help="runs at a time, one core each; 1 where unset")
    parser.add_argument("--gpu", action="store_true", help="train on the GPU, which all runs share")
    parser.add_argument("--plan", action="store_true", help="print the estimate and end")
    options = parser.parse_args(argv)
    for name in ("seeds", "workers"):
        if (given := getattr(options, name)) < 1:
            parser.error(f"`--{name}` must be at least 1, got {given}")
    if options.gpu and not options.plan and not torch.cuda.is_available():
        parser.error("`--gpu` needs a GPU, and torch sees none: leave it out, or install torch with CUDA")
    model = Model.of(options.model)
    try:
        jobs, done = jobs_of(model, options.figures, options.seeds, options.gpu), load(model.data, KEY)
    except ValueError as error:
        parser.error(str(error))
    os.chdir(ROOT)
    time_of = "" if options.gpu else f": about {hours_of(jobs, done):.1f} core-hours on quiet cores"
    print(f"{len(jobs.keys() - done.keys())} of {len(jobs)} runs are missing{time_of}", flush=True)
    if not options.plan:
        run_missing(run, jobs, model.data, KEY, options.workers)


if __name__ == "__main__":
    raise SystemExit(refusing(main, sys.argv[1:]))
