"""What control costs: the CPU seconds of es_trl's rollouts with control and without, on the same injected rollouts.

python benchmarks/overhead.py run            # about half an hour on an idle core
python benchmarks/overhead.py run --quick    # the same code in seconds, to runs/overhead
python benchmarks/overhead.py report         # from the data: summary.md

Generation costs nothing here, so a real rollout's time is longer and the share of control smaller. The variants take
turns in one process with one thread.
"""

import argparse
import json
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from control_report import table
from injected import Case, Shape, machine, train
from lab_run import rounded
from meters import CPUClock


ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "results" / "overhead"
SCHEDULE = {"kind": "constant", "target": 6.0}
OFF = "off"
CONTROL: dict[str, dict[str, Any]] = {
    OFF: {},
    "off, again": {},  # shows what the measurement itself leaves open
    "es_pid, entropy_bonus": {"method": "es_pid", "entropy_schedule": SCHEDULE, "entropy_actuator": "entropy_bonus"},
    "es_pid, clip": {"method": "es_pid", "entropy_schedule": SCHEDULE, "entropy_actuator": "clip"},
}
QUICK = Case(8, 4, 10, 40, prompt=6, micro_batch=2, updates=2, shape=Shape(32, 64, 1, 2, 1, 64))
WARM_UP = 1  # number of rollouts at the start of each run that do not count: the control begins at zero
Data = dict[str, Any]


def measure(case: Case, repetitions: int, rollouts: int) -> Data:
    """Return the seconds of whole rollouts, from one end of generation to the next, for each kind of control."""
    seconds: dict[str, list[list[float]]] = {name: [] for name in CONTROL}
    names = list(CONTROL)
    for repetition in range(repetitions):
        for name in names[repetition % len(names) :] + names[: repetition % len(names)]:
            clock = CPUClock(case.updates)
            train("es_trl", case, clock, WARM_UP + rollouts + 1, {"logging_steps": 10_000, **CONTROL[name]})
            seconds[name].append([rounded(value) for value in clock.rollouts[WARM_UP:]])
    return {"seconds": seconds, "completions": case.completions, "mean": case.mean, **machine()}


def low(values: list[float]) -> float:
    """Return the lower quartile: other work on the machine can only make a rollout slower."""
    return quantiles(values, n=4)[0] if len(values) > 1 else values[0]


def report(data: Data, folder: Path) -> str:
    """Write `summary.md` into `folder` and return its text."""
    rows = [["control", "seconds per rollout", "relative to off", "median of the turns"]]
    base = data["seconds"][OFF]
    for name, turns in data["seconds"].items():
        own, off = (low([value for turn in each for value in turn]) for each in (turns, base))
        pairs = [low(turn) / low(other) for turn, other in zip(turns, base, strict=True)]
        rows.append([name, f"{own:.3f}", f"{own / off:.4f}", f"{median(pairs):.4f}"])
    versions = ", ".join(f"{name} {number}" for name, number in data["versions"].items())
    turns = data["seconds"][OFF]
    parts = [
        "# Control on against off\n",
        f"`python benchmarks/overhead.py run`; {data['hardware']}, {data['threads']} thread(s), {versions}\n",
        f"- {data['completions']} injected completions of mean length {data['mean']}; {len(turns)} turns of "
        f"{len(turns[0])} rollouts each.\n"
        "- Seconds: CPU seconds from the end of one generation to the end of the next, lower quartile.\n"
        "- Median of the turns: of each turn's ratio to the run without control in the same turn.\n"
        "- Off, again: the same configuration as off. Its distance from 1 is what the measurement leaves open.\n",
        table(rows),
    ]
    text = "\n".join(parts)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "summary.md").write_text(text)
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("run", "report"))
    parser.add_argument("--quick", action="store_true", help="a tiny model, into runs/overhead")
    options = parser.parse_args()
    folder = ROOT / "runs" / "overhead" if options.quick else RESULTS
    path = folder / "times.json"
    if options.command == "run":
        data = measure(QUICK, 2, 3) if options.quick else measure(Case(), 8, 3)
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(data, indent=1) + "\n")
    print(report(json.loads(path.read_text()), folder))


if __name__ == "__main__":
    main()
