"""The long Countdown run with its entropy schedule against the same run without control, three seeds each.

python benchmarks/countdown_long.py run      # about three hours on two cores: six runs, two at a time
python benchmarks/countdown_long.py report   # from the committed data: summary.md and compare.png
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from statistics import mean, stdev

from matplotlib.figure import Figure

from es_trl.history import HISTORY_FILE, read_history


ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "results" / "countdown_long"
SEEDS = (0, 1, 2)
OFF = [word for block in ("schedule", "controller", "actuator") for word in (f"--entropy_{block}", "none")]
ARMS = {"scheduled": [], "uncontrolled": OFF}
COLORS = {"scheduled": "#1f6fb4", "uncontrolled": "#d1495b"}
SETTLING = 15  # rollouts


def run(arm: str, seed: int) -> None:
    """Train one run and evaluate its model; the history and the scores go to the results."""
    name = f"{arm}_seed{seed}"
    run_dir = ROOT / "runs" / name
    recipe = [str(ROOT / "recipes" / "countdown_es.py"), "--config", str(ROOT / "recipes" / "countdown_long.yaml")]
    options = ["--seed", str(seed), "--output_dir", str(run_dir), *ARMS[arm]]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, *recipe, *options], check=True, env=environment)
    collect(name, run_dir)


def collect(name: str, run_dir: Path) -> None:
    """Copy a finished run's history, and sample its model on prompts drawn with another seed."""
    from es_trl.lab.evaluate import evaluate_model

    RESULTS.mkdir(parents=True, exist_ok=True)
    shutil.copy(run_dir / HISTORY_FILE, RESULTS / f"{name}.jsonl")
    scores = {**evaluate_model(str(run_dir)), "versions": {p: version(p) for p in ("torch", "transformers", "trl")}}
    (RESULTS / f"{name}.json").write_text(json.dumps(scores, indent=2) + "\n")


def load(arm: str) -> list[tuple[list[dict], dict]]:
    """Histories and scores of an arm's seeds."""
    names = [RESULTS / f"{arm}_seed{seed}" for seed in SEEDS]
    return [(read_history(n.with_suffix(".jsonl")), json.loads(n.with_suffix(".json").read_text())) for n in names]


def spread(values: list[float]) -> str:
    """Mean and standard deviation over seeds."""
    return f"{mean(values):.3f} ± {stdev(values):.3f}"


def rms(records: list[dict]) -> float:
    return mean(record["error"] ** 2 for record in records) ** 0.5


def summarize() -> str:
    """The table of the README, as Markdown."""
    arms = {arm: load(arm) for arm in ARMS}
    rows = [("", *ARMS)]
    windows = {
        "first 20": slice(0, 20),
        "400 to 420": slice(400, 420),
        "780 to 800": slice(780, 800),
        "last 20": slice(-20, None),
    }
    for label, window in windows.items():
        cells = [spread([mean(r["reward"] for r in records[window]) for records, _ in runs]) for runs in arms.values()]
        rows.append((f"reward, rollouts {label}", *cells))
    for label, window in windows.items():
        cells = [spread([mean(r["entropy"] for r in records[window]) for records, _ in runs]) for runs in arms.values()]
        rows.append((f"entropy in nats, rollouts {label}", *cells))
    for numbers in ("3 numbers", "4 numbers"):
        for k in ("pass@1", "pass@8", "pass@64"):
            cells = [spread([scores[numbers][k] for _, scores in runs]) for runs in arms.values()]
            rows.append((f"{k}, 500 prompts of {numbers}", *cells))
    stable = [rms([r for r in records[SETTLING:] if r["stage"] == "stable"]) for records, _ in arms["scheduled"]]
    anneal = [rms([r for r in records if r["stage"] == "anneal"]) for records, _ in arms["scheduled"]]
    rows.append((f"error in nats (root mean square), stable stage after {SETTLING} rollouts", spread(stable), "-"))
    rows.append(("error in nats (root mean square), anneal", spread(anneal), "-"))
    head, *body = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([head, "|---|---|---|", *body]) + "\n"


def draw() -> Path:
    """Entropy and reward of both arms, a thin line a seed and a thick one for their mean."""
    figure = Figure(figsize=(8.0, 5.0), dpi=120, layout="constrained")
    for axis, field, window in zip(figure.subplots(2, 1, sharex=True), ("entropy", "reward"), (1, 20), strict=True):
        for arm in ARMS:
            lines = [[record[field] for record in records] for records, _ in load(arm)]
            lines = [[mean(line[max(0, i + 1 - window) : i + 1]) for i in range(len(line))] for line in lines]
            for line in lines:
                axis.plot(line, color=COLORS[arm], linewidth=0.6, alpha=0.35)
            axis.plot(
                [mean(values) for values in zip(*lines, strict=True)], color=COLORS[arm], linewidth=1.6, label=arm
            )
        axis.set_ylabel("entropy, nats" if field == "entropy" else f"reward, mean of {window} rollouts")
        axis.grid(alpha=0.25, linewidth=0.6)
        axis.spines[["top", "right"]].set_visible(False)
        axis.legend(fontsize=8, frameon=False)
    axis.set_xlabel("rollout")
    output = RESULTS / "compare.png"
    figure.savefig(output, metadata={"Software": None})
    return output


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("run", "report"))
    if parser.parse_args().command == "run":
        with ThreadPoolExecutor(max_workers=2) as pool:
            list(pool.map(lambda job: run(*job), [(arm, seed) for seed in SEEDS for arm in ARMS]))
    (RESULTS / "summary.md").write_text(summarize())
    print(summarize(), draw(), sep="\n")


if __name__ == "__main__":
    main()
