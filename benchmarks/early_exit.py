"""The cost of early exit and of dynamic sampling on the Countdown lab.

python benchmarks/early_exit.py run      # some minutes on one core
python benchmarks/early_exit.py report   # from the committed data: summary.md
"""

import argparse
import json
import os
from pathlib import Path
from statistics import mean
from typing import Any


os.environ["OMP_NUM_THREADS"] = "1"  # before torch

import torch
from control_report import table
from lab_run import rounded, train_on_lab


RESULTS = Path(__file__).parent.parent / "results" / "early_exit"
ROLLOUTS, PROMPTS, COMPLETIONS = 40, 16, 32
ARMS = ((0, 0), (0, 10), (8, 10), (8, 0))  # early_generations, dynamic_sampling_tries


def run(early: int, tries: int) -> dict[str, Any]:
    """Train one run, and return its counts, one entry per rollout."""
    changes = {"num_generations": COMPLETIONS, "early_generations": early, "dynamic_sampling_tries": tries}
    trainer, failure = train_on_lab(ROLLOUTS, 0, changes, [])
    assert failure is None
    rows = []
    for record in trainer.history.records:
        sampling, left = record["sampling"] or {}, record["early_exit"] or {}
        tried = left.get("prompts", PROMPTS + sampling.get("fresh_prompts", 0))
        gone = left.get("left", 0)
        sampled = gone * early + (tried - gone) * COMPLETIONS
        rows.append((tried, gone, sampling.get("masked_prompts", 0), sampled, rounded(record["reward"])))
    names = ("tried", "left", "masked", "sampled", "reward")
    return {"early": early, "tries": tries, **dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))}


def report() -> str:
    """Write `summary.md` from the data, and return its text."""
    rows = [["`early_generations`", "`dynamic_sampling_tries`", "prompts tried", "left early", "masked", "completions"]]
    for line in (RESULTS / "runs.jsonl").read_text().splitlines():
        data = json.loads(line)
        counts = [f"{mean(data[name]):.1f}" for name in ("tried", "left", "masked", "sampled")]
        rows.append([str(data["early"]), str(data["tries"]), *counts])
    text = (
        f"# Early exit: prompts and completions per rollout\n\nMeans over {ROLLOUTS} rollouts of {PROMPTS} prompts x "
        f"{COMPLETIONS} completions on the Countdown lab, one seed.\n\n{table(rows)}"
    )
    (RESULTS / "summary.md").write_text(text)
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("run", "report"))
    if parser.parse_args().command == "run":
        torch.set_num_threads(1)
        RESULTS.mkdir(parents=True, exist_ok=True)
        (RESULTS / "runs.jsonl").write_text("".join(json.dumps(run(*arm)) + "\n" for arm in ARMS))
    print(report())


if __name__ == "__main__":
    main()
