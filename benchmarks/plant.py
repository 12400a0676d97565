"""The effect of a control on the entropy of the Countdown lab, fitted to runs whose control moves at random.

python benchmarks/plant.py run      # nine runs of 100 rollouts, about a quarter of an hour on one core
python benchmarks/plant.py report   # from the committed data: summary.md
"""

import argparse
import json
import os
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any


os.environ["OMP_NUM_THREADS"] = "1"  # before torch

import numpy
import torch
from lab_run import rounded, train_on_lab

from es_trl import (
    ClipActuator,
    ClipHighActuator,
    ConstantSchedule,
    EntropyBonusActuator,
    EntropyScheduler,
    LinearSchedule,
    PIDController,
)


RESULTS = Path(__file__).parent.parent / "results" / "plant"
ROLLOUTS = 100


@dataclass
class DitheredPID(PIDController):
    """A PID controller whose output is moved by plus or minus `amplitude` at random in every rollout."""

    amplitude: float = 0.3

    def begin(self, initial: float, low: float, high: float) -> None:
        super().begin(initial, low, high)
        self._rng = random.Random(5)

    def update(self, target: float, entropy: float, slope: float = 0.0, noise: float | None = None) -> float:
        control = super().update(target, entropy, slope) + self.amplitude * self._rng.choice((-1, 1))
        return min(max(control, self._low), self._high)


BONUS = EntropyBonusActuator(-1.0, 1.0)
HOLD = ConstantSchedule(0.3)
# name: schedule, controller, actuator, changes of the configuration
RUNS: dict[str, tuple[Any, DitheredPID, Any, dict[str, Any]]] = {
    "reference": (HOLD, DitheredPID(6.0, 0.4, amplitude=0.3), BONUS, {}),
    "learning rate x 3": (HOLD, DitheredPID(3.0, 0.2, amplitude=0.2), BONUS, {"learning_rate": 3e-4}),
    "learning rate / 3": (
        ConstantSchedule(0.35),
        DitheredPID(10.0, 0.6, amplitude=0.5),
        EntropyBonusActuator(-2.0, 2.0),
        {"learning_rate": 3.3e-5},
    ),
    "falling target": (LinearSchedule(0.45, 0.04), DitheredPID(6.0, 0.4, amplitude=0.3), BONUS, {}),
    "four numbers": (HOLD, DitheredPID(6.0, 0.4, amplitude=0.3), BONUS, {"num_numbers": (4,)}),
    "4 updates per rollout": (
        HOLD,
        DitheredPID(6.0, 0.4, amplitude=0.4),
        BONUS,
        {"steps_per_generation": 4, "per_device_train_batch_size": 128},
    ),
    "16 updates per rollout": (
        HOLD,
        DitheredPID(4.0, 0.3, amplitude=0.2),
        BONUS,
        {"steps_per_generation": 16, "per_device_train_batch_size": 32},
    ),
    "clip": (HOLD, DitheredPID(0.0, 0.0, amplitude=0.6), ClipActuator(), {}),
    "clip_high": (HOLD, DitheredPID(0.0, 0.0, amplitude=0.18), ClipHighActuator(0.05, 1.0), {}),
}


def run(name: str) -> dict[str, Any]:
    """Train one run and return the entropy and the control of every rollout."""
    schedule, controller, actuator, changes = RUNS[name]
    options = {"num_numbers": changes["num_numbers"]} if "num_numbers" in changes else {}
    changes = {key: value for key, value in changes.items() if key != "num_numbers"}
    scheduler = EntropyScheduler(schedule, controller, actuator)
    trainer, failure = train_on_lab(ROLLOUTS, 0, changes, [scheduler], **options)
    assert failure is None, failure
    return {
        "run": name,
        **{n: [rounded(record[n]) for record in trainer.history.records] for n in ("entropy", "control")},
    }


def fit(entropy: list[float], control: list[float], first: int = 1) -> tuple[numpy.ndarray, numpy.ndarray, float]:
    """
    Fit the change of entropy from rollout to rollout by least squares.

    The regressors are control times entropy of this rollout, control times entropy of the last one, and a constant.

    Args:
        entropy (`list[float]`), control (`list[float]`):
            Entropy (nats) and control of every rollout.
        first (`int`, *optional*, defaults to `1`):
            First rollout whose change is fitted.

    Returns:
        The coefficients, their standard errors, and the standard deviation of the residuals in nats. The coefficients
        are the sensitivity to the control of this rollout, that to the control of the last one, and minus the drift in
        nats.
    """
    entropies, efforts = numpy.array(entropy), numpy.array(control) * numpy.array(entropy)
    change = numpy.diff(entropies)[first:]
    columns = numpy.stack([efforts[first:-1], efforts[first - 1 : -2], numpy.ones(len(change))], axis=1)
    coefficients, *_ = numpy.linalg.lstsq(columns, change, rcond=None)
    left = change - columns @ coefficients
    variance = left @ left / (len(change) - 3)
    errors = numpy.sqrt(numpy.diag(variance * numpy.linalg.inv(columns.T @ columns)))
    return coefficients, errors, variance**0.5


def summarize() -> str:
    """Return the fits of all runs, and of each third of the falling target, as Markdown."""
    runs = {run["run"]: run for run in map(json.loads, (RESULTS / "runs.jsonl").read_text().splitlines())}
    columns = ("run", "mean entropy", "sensitivity, at once", "one rollout later")
    columns += ("carried", "drift, nats", "residual, nats")
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    parts = [(name, run["entropy"], run["control"]) for name, run in runs.items()]
    parts[-1] = ("clip_high", runs["clip_high"]["entropy"], [c - 0.28 for c in runs["clip_high"]["control"]])
    falling = runs["falling target"]
    parts += [
        (f"falling target, rollouts {a} to {b}", falling["entropy"][a:b], falling["control"][a:b])
        for a, b in ((0, 35), (35, 70), (70, 100))
    ]
    for name, entropy, control in parts:
        (now, later, trend), errors, left = fit(entropy, control)
        both = now + later
        carried = f"{later / both:.2f}" if both > 3.0 * errors[0] else "-"
        lines.append(
            f"| {name} | {sum(entropy) / len(entropy):.3f} | {now:.3f} ± {errors[0]:.3f} | {later:.3f} ± "
            f"{errors[1]:.3f} | {carried} | {-trend:.4f} ± {errors[2]:.4f} | {left:.4f} |"
        )
    head = (
        "# The plant: effect of one unit of control on the lab's entropy, per rollout\n\n"
        "The change of entropy from one rollout to the next is fitted by least squares. Its terms are control times "
        "entropy of this rollout, the same of the rollout before, and a constant.\n\n"
        "- Sensitivity: share of the entropy that one unit of control moves, at once and one rollout later.\n"
        "- Carried: the part of both that comes one rollout later.\n"
        "- Drift: entropy lost per rollout without control, nats.\n"
        "- Residual: standard deviation of what the fit leaves, nats.\n"
        "- Unit of control: 1 of the bonus, a power of ten of `clip`, 1 of `epsilon_high` counted from 0.28.\n"
        "- ±: one standard error.\n\n"
    )
    return head + "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("run", "report"))
    if parser.parse_args().command == "run":
        torch.set_num_threads(1)
        RESULTS.mkdir(parents=True, exist_ok=True)
        (RESULTS / "runs.jsonl").write_text("".join(json.dumps(run(name)) + "\n" for name in RUNS))
    (RESULTS / "summary.md").write_text(summarize())
    print(summarize())


if __name__ == "__main__":
    main()
