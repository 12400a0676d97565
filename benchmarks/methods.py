"""Entropy error and pass@k of each published method on the Countdown lab, with everything else equal.

python benchmarks/methods.py run            # every method, schedule and seed: about three hours on two cores
python benchmarks/methods.py run --clips    # the methods that clip, in the setting in which clips act: half an hour
python benchmarks/methods.py run --short    # the same code in some minutes: 10 rollouts, one seed, to runs/methods
python benchmarks/methods.py time           # some minutes on an idle core: seconds per rollout of each method
python benchmarks/methods.py report         # from the committed data: summary.md and tracking.png

Runs that are already in the data are skipped. Each run is one process with one thread.
"""

import argparse
import json
import os
from importlib.metadata import version
from pathlib import Path
from statistics import quantiles
from typing import Any


os.environ["OMP_NUM_THREADS"] = "1"  # before torch
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import torch
from clip_lab import GEOMETRY
from control_report import SCHEDULES
from lab_run import rounded, run_missing, train_on_lab
from methods_report import KEY, OPEN, clips_report, load, report
from recipe_runs import score


ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "results" / "methods"
ROLLOUTS, CLIP_ROLLOUTS = 100, 30
SEEDS = (0, 1, 2)

# All numbers are the published ones, except the coefficients of entropy bonuses: the lab's small model needs 50 times
# as much. The committed runs have these controls in the published unit.
AER = {"high": 0.5}
AENT = {"low": 0.03, "high": 0.45, "start": 0.1}
GAIN = {"gain": 0.1}
METHODS: dict[str, dict[str, Any]] = {
    "es_pid": {"method": "es_pid", "entropy_actuator": {"low": -1.0, "high": 1.0}},
    "es": {"method": "es"},
    "aer": {"method": "aer", "entropy_controller": GAIN, "entropy_actuator": AER},
    "aer, hard": {"method": "aer", "entropy_controller": GAIN, "entropy_actuator": {**AER, "difficulty": "hard"}},
    "aent": {"method": "aent", "entropy_controller": GAIN, "entropy_actuator": AENT},
    "aent, p = 0": {"method": "aent", "entropy_controller": GAIN, "entropy_actuator": {**AENT, "clamp": 0.0}},
    "entrocraft": {"method": "entrocraft"},
    "entrocraft, code": {"method": "entrocraft", "entropy_actuator": {"variant": "code"}},
    "entropic": {"method": "entropic"},
    "skywork": {"method": "skywork", "entropy_coef_delta": 0.005, "entropy_coef_max": 0.25},
    "repo_r": {"method": "repo_r"},
    "mai": {"method": "mai"},
    "flexec, OD": {
        "method": "flexec",
        "entropy_schedule": {"kind": "linear", "start": 1.0, "end": 0.2, "relative": True},
        "entropy_controller": {"kind": "hysteresis", "floor": 0.2},
    },
    **{name: {"method": name} for name in OPEN if name != "flexec, OD"},
}
# Those whose clips the passes over a rollout set free, and two that do not clip.
CLIPS = ("grpo", "es_pid", "es", "mai", "flexec", "flexec, OD", "ce_gppo", "repo_r", "clip_cov")

Job = tuple[str, str, int, int]  # method, schedule, seed, rollouts


def changes_of(method: str, schedule: str) -> dict[str, Any]:
    changes = METHODS[method]
    # a method's own schedule may be relative to the first entropy, and these are not
    return (
        changes if schedule == "none" else {**changes, "entropy_schedule": {**SCHEDULES[schedule], "relative": False}}
    )


def measure_times() -> dict[str, float]:
    """
    Return the seconds per rollout of each method: the lower quartile of two runs of 10 rollouts without the first two.

    Other work on the machine can only make a rollout slower, so a low quantile is used. The methods take turns.
    """
    torch.set_num_threads(1)
    seconds: dict[str, list[float]] = {method: [] for method in METHODS}
    for _ in range(2):
        for method in METHODS:
            trainer, _ = train_on_lab(10, 0, changes_of(method, "none" if method in OPEN else "stable_anneal"), [])
            seconds[method] += [record["seconds"] for record in trainer.history.records[2:]]
    return {method: rounded(quantiles(values, n=4)[0]) for method, values in seconds.items()}


def run(job: Job) -> dict[str, Any]:
    """Train one run, evaluate its model, and return pass@k and some series with one entry per rollout."""
    return run_in({}, job)


def run_where_clips_act(job: Job) -> dict[str, Any]:
    """The same with four passes over each rollout."""
    return run_in(GEOMETRY, job)


def run_in(setting: dict[str, Any], job: Job) -> dict[str, Any]:
    """Train and evaluate one run in a setting, which is changes of the configuration."""
    torch.set_num_threads(1)
    method, schedule, seed, rollouts = job
    trainer, failure = train_on_lab(rollouts, seed, {**changes_of(method, schedule), **setting}, [])
    records = trainer.history.records
    scores = None if failure else score(trainer.model, trainer.processing_class, count=3, num_prompts=250)
    series = ("entropy", "clamped_entropy", "entropy_se", "control", "reward", "kept", "completion_tokens", "seconds")
    return {
        **dict(zip(("method", "schedule", "seed", "rollouts"), job, strict=True)),
        "failure": failure,
        "scores": scores,
        "versions": {package: version(package) for package in ("torch", "transformers", "trl")},
        **{name: [rounded(record[name]) for record in records] for name in series},
        "extra_tokens": sum(record["sampling"]["extra_tokens"] for record in records if record["sampling"]),
    }


def jobs(seeds: tuple[int, ...], rollouts: int) -> list[Job]:
    """Return all runs, sorted by seed."""
    return [
        (method, schedule, seed, rollouts)
        for seed in seeds
        for method in METHODS
        for schedule in (("none",) if method in OPEN else SCHEDULES)
    ]


def clip_jobs() -> list[Job]:
    """Return the runs in the setting in which clips act, sorted by seed: one schedule, and the methods that clip."""
    return [
        (method, "none" if method in OPEN else "constant", seed, CLIP_ROLLOUTS) for seed in SEEDS for method in CLIPS
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("run", "time", "report"))
    parser.add_argument("--short", action="store_true", help="10 rollouts and one seed, into runs/methods")
    parser.add_argument("--clips", action="store_true", help="run the setting in which clips act, four passes each")
    parser.add_argument("--workers", type=int, default=2, help="runs at a time, one core each")
    options = parser.parse_args()
    folder = ROOT / "runs" / "methods" if options.short else RESULTS
    data, rollouts = folder / "runs.jsonl", 10 if options.short else ROLLOUTS
    clips = RESULTS / "clips.jsonl"
    if options.command == "run" and options.clips:
        run_missing(run_where_clips_act, {job: job for job in clip_jobs()}, clips, KEY, options.workers)
    elif options.command == "run":
        wanted = jobs(SEEDS[:1] if options.short else SEEDS, rollouts)
        run_missing(run, {job: job for job in wanted}, data, KEY, options.workers)
    times = RESULTS / "times.json"
    if options.command == "time":
        times.write_text(json.dumps(measure_times(), indent=1) + "\n")
    known = json.loads(times.read_text()) if times.exists() else {}
    print(report(load(data), known, list(METHODS), folder))
    if clips.exists() and not options.short:
        print(clips_report(load(clips), list(CLIPS), folder))


if __name__ == "__main__":
    main()
