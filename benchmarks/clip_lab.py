"""The upper clip alone against a schedule, on the Countdown lab with four passes over each rollout.

python benchmarks/clip_lab.py run      # three seeds: 63 runs of a minute each on one core
python benchmarks/clip_lab.py report   # from the committed data: summary.md and tracking.png

With four passes the ratios leave the clip range, so the upper clip has authority. A wider upper clip means less entropy
here, so Algorithm 1 as published steers the wrong way. Runs that are already in the data are skipped.
"""

import argparse
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any


os.environ["OMP_NUM_THREADS"] = "1"  # before torch
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import torch
from clip_lab_report import KEY, SCHEDULES, report
from control_report import load
from lab_run import rounded, run_missing, train_on_lab

from es_trl import (
    Actuator,
    ClipActuator,
    ClipHighActuator,
    EntropyScheduler,
    SelfTunedPIDController,
    SignStepController,
)
from es_trl.config.parser import build_part
from es_trl.control.base import ActuatorArgs


RESULTS = Path(__file__).parent.parent / "results" / "clip_lab"
ROLLOUTS = 30
SEEDS = (0, 1, 2)
# the setting of recipes/countdown_clip.yaml
GEOMETRY = {"per_device_train_batch_size": 32, "num_iterations": 4, "learning_rate": 2e-4}


@dataclass(frozen=True)
class ReversedClipHigh(Actuator):
    """The upper clip, narrower with more control: `epsilon_high` is 0.28 divided by ten to the power of the control."""

    low: float = -1.15  # epsilon_high 4.0
    high: float = 1.45  # epsilon_high 0.01

    def settings(self, control: float, args: ActuatorArgs) -> dict[str, float]:
        """Return `epsilon_high` for a control."""
        return {"epsilon_high": 0.28 * 10.0**-control}


WIDE = ClipHighActuator(0.01, 4.0)
# name: controller, actuator, changes of the configuration
METHODS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "no control, 0.2/0.01": (None, None, {"epsilon_high": 0.01}),
    "no control, 0.2/0.28": (None, None, {}),
    "no control, 0.2/4.0": (None, None, {"epsilon_high": 4.0}),
    "Algorithm 1": (SignStepController(0.005), ClipHighActuator(0.1, 0.4), {}),
    "self-tuned, reversed": (SelfTunedPIDController(), ReversedClipHigh(), {}),
    "sign step, reversed": (SignStepController(0.3, window=2, warmup=0), ReversedClipHigh(), {}),
    "MAI's numbers": (
        SignStepController(0.25, window=1, warmup=0),
        ClipHighActuator(1.5, 4.0),
        {"epsilon": 0.6, "epsilon_high": 1.5},
    ),
    "self-tuned, upper clip": (SelfTunedPIDController(), WIDE, {}),
    "self-tuned, chain of clips": (SelfTunedPIDController(), [WIDE, ClipActuator()], {}),
}


def run(job: tuple[str, str, int]) -> dict[str, Any]:
    """Train one run and return some of its series, with one entry per rollout."""
    torch.set_num_threads(1)
    method, schedule, seed = job
    controller, actuator, changes = METHODS[method]
    callbacks = []
    if controller is not None:
        callbacks = [EntropyScheduler(build_part("entropy_schedule", SCHEDULES[schedule]), controller, actuator)]
    trainer, failure = train_on_lab(ROLLOUTS, seed, {**GEOMETRY, **changes}, callbacks)
    names = ("entropy", "entropy_se", "control", "reward", "clip_high_fraction", "seconds")
    series = {name: [rounded(record[name]) for record in trainer.history.records] for name in names}
    return {"method": method, "schedule": schedule, "seed": seed, "failure": failure, **series}


def jobs() -> dict[tuple, tuple[str, str, int]]:
    """Return all runs by their key, the first seed first; runs without control have no schedule."""
    found = [
        (method, schedule, seed)
        for seed in SEEDS
        for schedule in SCHEDULES
        for method, (controller, _, _) in METHODS.items()
        if controller is not None or schedule == list(SCHEDULES)[0]
    ]
    return {job: job for job in found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("run", "report"))
    parser.add_argument("--workers", type=int, default=1, help="runs at a time, one core each")
    options = parser.parse_args()
    data = RESULTS / "runs.jsonl"
    if options.command == "run":
        run_missing(run, jobs(), data, KEY, options.workers)
    print(report(list(load(data, KEY).values()), list(METHODS), RESULTS))


if __name__ == "__main__":
    main()
