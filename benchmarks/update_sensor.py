"""Equation 7, the entropy estimate of `entropy_sensor: update`, against the exact entropy of the same policy.

python benchmarks/update_sensor.py run      # about two minutes on one core
python benchmarks/update_sensor.py report   # from the committed data: summary.md

The exact entropy is over the whole vocabulary, at the contexts of the tokens that the estimate uses.
"""

import argparse
import json
import os
from pathlib import Path
from statistics import fmean, stdev
from typing import Any


os.environ["OMP_NUM_THREADS"] = "1"  # before torch

import torch
from control_report import table
from lab_run import rounded, train_on_lab

from es_trl.control.base import Actuator


RESULTS = Path(__file__).parent.parent / "results" / "update_sensor"
UPDATES, ROLLOUTS = 8, 12  # updates per pass over a rollout
SETTINGS = ((1e-4, 1), (5e-5, 4), (2e-4, 4))  # learning rate, passes over each rollout


class Watched(Actuator):
    """An actuator that changes nothing and keeps the exact entropy of every update."""

    low, high, setting = -1.0, 1.0, "watched"

    def __init__(self) -> None:
        self.entropies: list[float] = []

    def advantages(self, batch: Any, settings: Any) -> torch.Tensor:
        """Return the advantages as they are."""
        if torch.is_grad_enabled():
            self.entropies.append((batch.token_mean(batch.entropies.detach(), 1.0)).item())
        return batch.inputs["advantages"]


def run(learning_rate: float, passes: int) -> list[dict[str, Any]]:
    """Train one run, and return the estimates and the exact entropies of each pass over the rollouts, nats."""
    watched = Watched()
    changes = {"learning_rate": learning_rate, "num_iterations": passes, "per_device_train_batch_size": 32}
    loop = {"entropy_controller": "hold", "entropy_actuator": watched, "entropy_sensor": "update"}
    trainer, failure = train_on_lab(ROLLOUTS, 0, {**changes, **loop, "micro_batches": "completions"}, [])
    assert failure is None
    (own,) = trainer.entropy_scheduler.loop.actuators  # a copy of `watched`
    estimates = [value for record in trainer.history.records for value in record["update_entropies"]]
    assert len(estimates) == len(own.entropies)
    pairs = list(zip(estimates, own.entropies, strict=True))
    return [
        {
            "learning_rate": learning_rate,
            "passes": passes,
            "pass": number + 1,
            "estimate": [rounded(pair[0]) for pair in own_pairs],
            "exact": [rounded(pair[1]) for pair in own_pairs],
        }
        for number in range(passes)
        if (own_pairs := [pair for i, pair in enumerate(pairs) if i % (UPDATES * passes) // UPDATES == number])
    ]


def report() -> str:
    """Write `summary.md` from the data, and return its text."""
    rows = [["learning rate", "pass", "exact entropy", "estimate minus exact entropy", "scatter of one estimate"]]
    for line in (RESULTS / "passes.jsonl").read_text().splitlines():
        data = json.loads(line)
        off = [estimate - exact for estimate, exact in zip(data["estimate"], data["exact"], strict=True)]
        error = f"{fmean(off):+.3f} ± {stdev(off) / len(off) ** 0.5:.3f}"
        place = f"{data['pass']} of {data['passes']}"
        rows.append([f"{data['learning_rate']:.0e}", place, f"{fmean(data['exact']):.3f}", error, f"{stdev(off):.3f}"])
    text = (
        f"# The estimate of an update against the exact entropy\n\n{ROLLOUTS} rollouts of the Countdown lab, {UPDATES} "
        "updates of 32 completions per pass, one seed; nats; ±: standard error of the mean over updates.\n\n"
        f"{table(rows)}"
    )
    (RESULTS / "summary.md").write_text(text)
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("run", "report"))
    if parser.parse_args().command == "run":
        torch.set_num_threads(1)
        RESULTS.mkdir(parents=True, exist_ok=True)
        lines = [json.dumps(each) + "\n" for setting in SETTINGS for each in run(*setting)]
        (RESULTS / "passes.jsonl").write_text("".join(lines))
    print(report())


if __name__ == "__main__":
    main()
