"""The effect of each change that the stage at the onset makes, in `recipes/countdown_curriculum.yaml`.

python benchmarks/curriculum.py run      # about an hour on one core: five arms, three seeds, one after the other
python benchmarks/curriculum.py report   # from the committed data: summary.md and compare.png
"""

import argparse
import json
from pathlib import Path
from statistics import mean

from matplotlib.figure import Figure
from recipe_runs import ROOT, SEEDS, dress, load, rms, run_recipe, spread

from es_trl.tracking.plots import smooth


RESULTS = ROOT / "results" / "countdown_curriculum"
LENGTH = {"start": "onset", "max_completion_length": 16}
DATA = {"data": {"hard": 3, "train": 1}}
COMPLETIONS = {"num_generations": 32}
STAGES = {
    "anneal": LENGTH,
    "harder": {**LENGTH, **DATA},
    "rollouts": {**LENGTH, **COMPLETIONS},
    "both": {**LENGTH, **DATA, **COMPLETIONS},
    "both_hold_prompts": {**LENGTH, **DATA, **COMPLETIONS, "hold": "prompts"},
}
TITLES = {
    "anneal": "anneal alone",
    "harder": "harder prompts",
    "rollouts": "32 completions",
    "both": "both, hold: completions",
    "both_hold_prompts": "both, hold: prompts (the recipe)",
}
COLORS = dict(zip(STAGES, ("#333333", "#d1495b", "#c77700", "#1f6fb4", "#2a9d5c"), strict=True))


def run(arm: str, seed: int) -> None:
    """Train and evaluate one run."""
    options = ["--seed", str(seed), "--curriculum", json.dumps([STAGES[arm]])]
    run_recipe("countdown_curriculum.yaml", options, f"{arm}_seed{seed}", RESULTS)


def summarize() -> str:
    """Return the table as Markdown."""
    arms = {arm: load(RESULTS, arm) for arm in STAGES}
    rows = [("at anneal onset", *(TITLES[arm] for arm in STAGES))]
    for numbers in ("3 numbers", "4 numbers"):
        for k in ("pass@1", "pass@8", "pass@64"):
            cells = [spread([scores[numbers][k] for _, scores in runs]) for runs in arms.values()]
            rows.append((f"{k}, 500 prompts of {numbers}", *cells))
    before, after = [], []
    for runs in arms.values():
        parts = [([r for r in h if r["stage"] == "stable"], [r for r in h if r["stage"] == "anneal"]) for h, _ in runs]
        before.append([mean(r["seconds"] for r in stable) for stable, _ in parts])
        after.append(parts)
    rows.append(("jump of the entropy, nats", *(spread([p[1][0]["jump"] for p in parts]) for parts in after)))
    rows.append(("error, anneal (root mean square, nats)", *(spread([rms(p[1]) for p in parts]) for parts in after)))
    cost = [
        [mean(r["seconds"] for r in p[1]) / seconds for p, seconds in zip(parts, stable, strict=True)]
        for parts, stable in zip(after, before, strict=True)
    ]
    rows.append(("time per rollout, relative to before onset", *(spread(values) for values in cost)))
    first = [[p[1][0]["seconds"] / mean(r["seconds"] for r in p[1][1:]) for p in parts] for parts in after]
    rows.append(("time of the first rollout, relative to the later ones", *(spread(values) for values in first)))
    head, *body = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([head, "|---" * len(rows[0]) + "|", *body]) + "\n"


def draw() -> Path:
    """Draw entropy and reward around the switch, as the mean of three seeds per arm."""
    figure = Figure(figsize=(8.0, 5.0), dpi=120, layout="constrained")
    for axis, field, window in zip(figure.subplots(2, 1, sharex=True), ("entropy", "reward"), (1, 5), strict=True):
        for arm in STAGES:
            lines = [[record[field] for record in records] for records, _ in load(RESULTS, arm)]
            line = [mean(values) for values in zip(*lines, strict=True)]
            axis.plot(range(100, 160), smooth(line, window)[100:], color=COLORS[arm], linewidth=1.3, label=TITLES[arm])
        if field == "entropy":
            targets = [record["target"] for record in load(RESULTS, "both")[0][0]]
            axis.plot(range(100, 160), targets[100:], color="#999999", linestyle="--", linewidth=1.0, label="target")
        axis.axvline(120, color="#999999", linewidth=0.8, linestyle=":")
        dress(axis, field, window)
    figure.axes[0].legend(fontsize=8, frameon=False)
    axis.set_xlabel("rollout")
    output = RESULTS / "compare.png"
    figure.savefig(output, metadata={"Software": None})
    return output


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("run", "report"))
    if parser.parse_args().command == "run":
        for seed in SEEDS:
            for arm in STAGES:
                run(arm, seed)
    (RESULTS / "summary.md").write_text(summarize())
    print(summarize(), draw(), sep="\n")


if __name__ == "__main__":
    main()
