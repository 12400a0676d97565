"""Error and noise floor of each method that holds the entropy of the Countdown lab to a schedule.

python benchmarks/control.py run            # every method, schedule and seed: about three hours on two cores
python benchmarks/control.py run --short    # the same code in a few minutes: 20 rollouts, one seed, to runs/control
python benchmarks/control.py report         # from the committed data: summary.md and the figures

Runs that are already in the data are skipped. Each run is one process with one thread.
"""

import argparse
import os
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any


os.environ["OMP_NUM_THREADS"] = "1"  # before torch
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import torch
from control_report import KEY, SCHEDULES, SETTLING, error_over, load, report
from lab_run import rounded, run_missing, train_on_lab

from es_trl import RolloutCallback
from es_trl.config.parser import build_part
from es_trl.control.schedules import progress_at
from es_trl.lab.make_base import main as make_base


ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "results" / "control"
ROLLOUTS = 100
SEEDS = (0, 1, 2)

CLIP_HIGH = {"kind": "clip_high", "low": 0.1, "high": 0.4}
CLIP = {"kind": "clip"}
BONUS = {"kind": "entropy_bonus", "low": -1.0, "high": 1.0}


def control(controller: dict[str, Any] | str, actuator: dict[str, Any] | list[dict[str, Any]]) -> dict[str, Any]:
    return {"entropy_controller": controller, "entropy_actuator": actuator}


def sign_step(actuator: dict[str, Any], delta: float) -> dict[str, Any]:
    return control({"kind": "sign_step", "delta": delta}, actuator)


def adaptive(delta: float) -> dict[str, Any]:
    return {"use_adaptive_entropy": True, "entropy_coef_delta": delta}


# Several step sizes of each published method are tried on one seed. The best one runs on all seeds.
STEPS = {
    "Algorithm 1, clip_high": (partial(sign_step, CLIP_HIGH), (0.002, 0.005, 0.02)),
    "Algorithm 1, clip": (partial(sign_step, CLIP), (0.02, 0.05, 0.15)),
    "Algorithm 1, entropy_bonus": (partial(sign_step, BONUS), (0.001, 0.003, 0.01, 0.03)),
    "TRL adaptive": (adaptive, (0.001, 0.005, 0.025)),
}
UNCONTROLLED = {"no control, 0.2/0.2": {"epsilon_high": 0.2}, "no control, 0.2/0.28": {}}
METHODS = {
    "PID by hand, entropy_bonus": control({"kind": "pid", "kp": 6.0, "ki": 0.4, "kff": 30.0}, BONUS),
    "self-tuned, entropy_bonus": control("self_tuned_pid", BONUS),
    "self-tuned, clip_high": control("self_tuned_pid", CLIP_HIGH),
    "self-tuned, clip": control("self_tuned_pid", CLIP),
    "self-tuned, chain": control("self_tuned_pid", [CLIP_HIGH, CLIP, BONUS]),
}
# The gains were tuned only for the first of these conditions.
CONDITIONS = {
    "reference": {},
    "learning rate x 3": {"learning_rate": 3e-4},
    "learning rate / 3": {"learning_rate": 3.3e-5},
    "4 updates per rollout": {"steps_per_generation": 4, "per_device_train_batch_size": 128},
    "16 updates per rollout": {"steps_per_generation": 16, "per_device_train_batch_size": 32},
    "four numbers": {"num_numbers": (4,)},
    "another base": {"model": str(ROOT / "runs" / "another_base")},
}


@dataclass(frozen=True)
class Job:
    condition: str
    method: str
    schedule: str
    seed: int
    rollouts: int
    changes: dict[str, Any]

    @property
    def key(self) -> tuple[str, str, str, int, int]:
        return self.condition, self.method, self.schedule, self.seed, self.rollouts


class MoveTarget(RolloutCallback):
    """Moves the target of TRL's adaptive entropy coefficient along a schedule; in TRL it is constant."""

    def __init__(self, schedule: dict[str, Any]):
        self.schedule = build_part("entropy_schedule", schedule)

    def on_rollout_begin(self, args, state, control, record, trainer):
        trainer.args.entropy_target = self.schedule(progress_at(record.rollout, trainer.num_rollouts))


def run(job: Job) -> dict[str, Any]:
    """Train one run and return some of its series, with one entry per rollout."""
    torch.set_num_threads(1)
    changes = {**CONDITIONS[job.condition], **job.changes}
    options = {name: changes.pop(name) for name in ("num_numbers", "model") if name in changes}
    callbacks = []
    if changes.get("use_adaptive_entropy"):
        callbacks.append(MoveTarget(SCHEDULES[job.schedule]))
    elif "entropy_controller" in changes:
        changes["entropy_schedule"] = SCHEDULES[job.schedule]
    trainer, failure = train_on_lab(job.rollouts, job.seed, changes, callbacks, **options)
    records = trainer.history.records
    names = ("entropy", "entropy_se", "control", "reward", "seconds")
    return {
        "condition": job.condition,
        "method": job.method,
        "schedule": job.schedule,
        "seed": job.seed,
        "rollouts": job.rollouts,
        "failure": failure,
        "versions": {package: version(package) for package in ("torch", "transformers", "trl")},
        **{name: [rounded(record[name]) for record in records] for name in names},
        "events": [[r["rollout"], event["kind"], event["message"]] for r in records for event in r["events"] or []],
    }


def step_jobs(rollouts: int) -> list[Job]:
    return [
        Job("reference", f"{method}, step {step:g}", "stable_anneal", SEEDS[0], rollouts, make(step))
        for method, (make, steps) in STEPS.items()
        for step in steps
    ]


def best_methods(runs: dict[tuple, dict[str, Any]], rollouts: int) -> dict[str, dict[str, Any]]:
    """Return each published method with its step size of least error on `stable_anneal` and the first seed."""
    best, rows = {}, range(min(SETTLING, rollouts // 2), rollouts)
    for method, (make, steps) in STEPS.items():
        names = {f"{method}, step {step:g}": step for step in steps}
        found = {name: error_over(runs["reference", name, "stable_anneal", SEEDS[0], rollouts], rows) for name in names}
        name = min(found, key=found.get)
        best[name] = make(names[name])
    return best


def reference_jobs(methods: dict[str, dict[str, Any]], seeds: tuple[int, ...], rollouts: int) -> list[Job]:
    jobs = [Job("reference", m, "constant", s, rollouts, c) for m, c in UNCONTROLLED.items() for s in seeds]
    return jobs + [
        Job("reference", method, schedule, seed, rollouts, changes)
        for method, changes in methods.items()
        for schedule in SCHEDULES
        for seed in seeds
    ]


def condition_jobs(methods: dict[str, dict[str, Any]], rollouts: int) -> list[Job]:
    """Return the runs of the methods with an entropy bonus, under conditions for which none of them was tuned."""
    chosen = [m for m in methods if m.startswith(("self-tuned, entropy", "Algorithm 1, entropy", "TRL adaptive"))]
    return [
        Job(condition, method, schedule, SEEDS[0], rollouts, methods[method])
        for schedule in SCHEDULES
        for condition in list(CONDITIONS)[1:]
        for method in chosen
    ]


def run_all(jobs: list[Job], data: Path, workers: int) -> None:
    """Run the jobs that are not in `data` yet."""
    run_missing(run, {job.key: job for job in jobs}, data, KEY, workers)


def make_another_base() -> None:
    """Make a base model with another seed and half of the training, which has more entropy and less skill."""
    folder = Path(CONDITIONS["another base"]["model"])
    if not folder.exists():
        make_base([str(folder), "--seed", "1", "--steps", "2000"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("run", "report"))
    parser.add_argument("--short", action="store_true", help="20 rollouts and one seed, into runs/control")
    parser.add_argument("--workers", type=int, default=2, help="runs at a time, one core each")
    options = parser.parse_args()
    folder = ROOT / "runs" / "control" if options.short else RESULTS
    data, rollouts = folder / "runs.jsonl", 20 if options.short else ROLLOUTS
    seeds = SEEDS[:1] if options.short else SEEDS
    if options.command == "run":
        run_all(step_jobs(rollouts), data, options.workers)
        methods = {**best_methods(load(data), rollouts), **METHODS}
        run_all(reference_jobs(methods, seeds, rollouts), data, options.workers)
        if not options.short:
            make_another_base()
            run_all(condition_jobs(methods, rollouts), data, options.workers)
    runs = load(data)
    print(report(runs, folder, list(UNCONTROLLED), [*best_methods(runs, rollouts), *METHODS], list(CONDITIONS)))


if __name__ == "__main__":
    main()
