"""Some published methods on SmolLM2, with their published numbers and everything else as in the arm `stable`.

python experiments/smollm_methods.py run          # two seeds of each: an hour per run on one core
python experiments/smollm_methods.py run --gpu --workers 8
python experiments/smollm_methods.py report       # from the committed data: smollm.md in results/methods

`es_pid` and `grpo` are the arms `stable` and `anneal_first` of the reproduction. Runs that are in the data are skipped.
"""

import argparse
import sys
from dataclasses import replace
from statistics import mean
from typing import Any

import run as runner
from arms import KEY, ROOT, Model
from control_report import load, rms, spread, table
from lab_run import run_missing

from es_trl.common.refusals import run as refusing


FOLDER = ROOT / "results" / "methods"
DATA, PAGE = FOLDER / "smollm.jsonl", FOLDER / "smollm.md"
BASE = "stable"
METHODS: dict[str, dict[str, Any]] = {
    name: {"method": name, **({"entropy_schedule": None} if name == "pass_at_k" else {})}
    for name in ("es", "mai", "skywork", "aent", "pass_at_k")
}
ARMS = {"es_pid": BASE, "grpo": "anneal_first"}  # methods that are arms of the reproduction
SETTLING, LAST = 15, 10  # rollouts at the begin that do not count in the error, and those at the end


def run(job: tuple[str, runner.Job]) -> dict[str, Any]:
    """Train and evaluate one run, and return its line of the data."""
    method, given = job
    return {**runner.run(given), "arm": method}


def jobs_of(model: Model, seeds: int, on_gpu: bool) -> dict[tuple, tuple[str, runner.Job]]:
    """Return the runs by their key, sorted by seed."""
    ((_, base),) = [item for item in runner.jobs_of(model, [], 1, on_gpu).items() if item[0][0] == BASE]
    return {
        (method, seed, model.digest_of(BASE)): (
            method,
            replace(base, seed=seed, changes={**base.changes, **changes}),
        )
        for seed in range(seeds)
        for method, changes in METHODS.items()
    }


def row_of(method: str, runs: list[dict[str, Any]], target: float) -> list[str]:
    """Return the row of a method: its error and its last rollouts, then pass@k of the final model."""
    whole = [one for one in runs if not one["failure"]]
    off = [rms([target - value for value in one["entropy"][SETTLING:]]) for one in whole]
    ends = [[mean(one[name][-LAST:]) for one in whole] for name in ("entropy", "reward")]
    scores = [next(iter(one["pass@k"].values())) for one in whole]
    passes = [[score[k] for score in scores] for k in ("1", "8", "16")]
    broke = f"{len(runs) - len(whole)} of {len(runs)}"
    return [f"`{method}`", str(len(whole)), *(spread(values, 3) for values in (off, *ends, *passes)), broke]


def report(model: Model) -> str:
    """Write the table of all methods from the committed data and return its text."""
    found: dict[str, list[dict[str, Any]]] = {}
    for (arm, _, _), one in load(DATA, KEY).items():
        found.setdefault(arm, []).append(one)
    for (arm, _, digest), one in load(model.data, KEY).items():
        names = [method for method, own in ARMS.items() if own == arm and model.digest_of(arm) == digest]
        for method in names:
            found.setdefault(method, []).append(one)
    target = model.recipe_of(BASE)["entropy_schedule"]["target"]
    heads = [
        "method",
        "seeds",
        "error, nats",
        "entropy at the end",
        "reward at the end",
        *("pass@1", "pass@8", "pass@16"),
    ]
    rows = [[*heads, "broke"], *(row_of(name, found[name], target) for name in (*ARMS, *METHODS) if name in found)]
    hardware = sorted({one["hardware"] for runs in found.values() for one in runs})
    text = (
        f"# Published methods on SmolLM2-135M-Instruct: target {target} nats\n\n"
        f"`python experiments/smollm_methods.py run`; {', '.join(hardware)}\n\n"
        f"- Error: root mean square of target minus entropy, nats, without the first {SETTLING} rollouts.\n"
        f"- At the end: mean of the last {LAST} rollouts.\n"
        "- ±: standard deviation over seeds.\n\n" + table(rows)
    )
    PAGE.write_text(text)
    return text


def main(argv: list[str]) -> None:
    """Make the runs, or the table from them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("run", "report"))
    parser.add_argument("--seeds", type=int, default=2, help="seeds per method; 2 where unset")
    parser.add_argument("--workers", type=int, default=1, help="runs at a time, one core each; 1 where unset")
    parser.add_argument("--gpu", action="store_true", help="train on the GPU, which all runs share")
    options = parser.parse_args(argv)
    model = Model.of("smollm")
    if options.command == "run":
        run_missing(run, jobs_of(model, options.seeds, options.gpu), DATA, KEY, options.workers)
    print(report(model))


if __name__ == "__main__":
    raise SystemExit(refusing(main, sys.argv[1:]))
