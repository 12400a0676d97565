"""The long Countdown run with its entropy schedule, compared with the same run without control, on three seeds each.

python benchmarks/countdown_long.py run      # about three hours on two cores: six runs, two at a time
python benchmarks/countdown_long.py report   # from the committed data: summary.md and compare.png
"""

import argparse
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import mean

from matplotlib.figure import Figure
from recipe_runs import ROOT, SEEDS, dress, load, rms, run_recipe, spread

from es_trl.tracking.plots import smooth


RESULTS = ROOT / "results" / "countdown_long"
OFF = [word for block in ("schedule", "controller", "actuator") for word in (f"--entropy_{block}", "none")]
ARMS = {"scheduled": [], "uncontrolled": OFF}
COLORS = {"scheduled": "#1f6fb4", "uncontrolled": "#d1495b"}
SETTLING = 15  # rollouts


def run(arm: str, seed: int) -> None:
    """Train and evaluate one run."""
    run_recipe("countdown_long.yaml", ["--seed", str(seed), *ARMS[arm]], f"{arm}_seed{seed}", RESULTS)


def summarize() -> str:
    """Return the table as Markdown."""
    arms = {arm: load(RESULTS, arm) for arm in ARMS}
    rows = [("", *ARMS)]
    windows = {
        "first 20 rollouts": slice(0, 20),
        "rollouts 400 to 420": slice(400, 420),
        "rollouts 780 to 800": slice(780, 800),
        "last 20 rollouts": slice(-20, None),
    }
    for label, window in windows.items():
        cells = [spread([mean(r["reward"] for r in records[window]) for records, _ in runs]) for runs in arms.values()]
        rows.append((f"reward, {label}", *cells))
    for label, window in windows.items():
        cells = [spread([mean(r["entropy"] for r in records[window]) for records, _ in runs]) for runs in arms.values()]
        rows.append((f"entropy in nats, {label}", *cells))
    for numbers in ("3 numbers", "4 numbers"):
        for k in ("pass@1", "pass@8", "pass@64"):
            cells = [spread([scores[numbers][k] for _, scores in runs]) for runs in arms.values()]
            rows.append((f"{k}, 500 prompts of {numbers}", *cells))
    stable = [rms([r for r in records[SETTLING:] if r["stage"] == "stable"]) for records, _ in arms["scheduled"]]
    anneal = [rms([r for r in records if r["stage"] == "anneal"]) for records, _ in arms["scheduled"]]
    rows.append((f"error in nats (root mean square), stable phase after {SETTLING} rollouts", spread(stable), "-"))
    rows.append(("error in nats (root mean square), anneal", spread(anneal), "-"))
    head, *body = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([head, "|---|---|---|", *body]) + "\n"


def draw() -> Path:
    """Draw entropy and reward of both arms, with one thin line per seed and a thick line for their mean."""
    figure = Figure(figsize=(8.0, 5.0), dpi=120, layout="constrained")
    for axis, field, window in zip(figure.subplots(2, 1, sharex=True), ("entropy", "reward"), (1, 20), strict=True):
        for arm in ARMS:
            lines = [[record[field] for record in records] for records, _ in load(RESULTS, arm)]
            lines = [smooth(line, window) for line in lines]
            for line in lines:
                axis.plot(line, color=COLORS[arm], linewidth=0.6, alpha=0.35)
            axis.plot(
                [mean(values) for values in zip(*lines, strict=True)], color=COLORS[arm], linewidth=1.6, label=arm
            )
        if field == "entropy":
            wanted = [record["target"] for record in load(RESULTS, "scheduled")[0][0]]
            axis.plot(wanted, color="#333333", linewidth=1.0, linestyle="--", label="target")
        dress(axis, field, window)
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
