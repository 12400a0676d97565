"""The direction in which training on right and wrong completions moves entropy; Entrocraft and EntroPIC depend on it.

python benchmarks/direction.py run      # the lab, some minutes on one core
python benchmarks/direction.py run NAME --model FOLDER --dataset_name FILE --reward math    # another model
python benchmarks/direction.py report   # from the committed data: direction.md

An update on token y with advantage A moves the logits along A (e_y - p). To first order, it changes entropy by -A d
(Entrocraft, arXiv 2604.26326, Theorem 1) with

    d = p_y (log p_y + H) - sum_j p_j^2 (log p_j + H).

If d > 0, a positive advantage lowers entropy and a negative one raises it. The table has the mean of d over the tokens
of right and of wrong completions, weighted by |A|. Only prompts with both kinds of completions count.
"""

import argparse
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any


os.environ["OMP_NUM_THREADS"] = "1"  # before torch

import torch
from control_report import table
from lab_run import rounded, train_on_lab
from stored_rollout import Subject, add_subject, check_subject, generate, logits_of, said_by, subject_of
from transformers import PreTrainedModel


RESULTS = Path(__file__).parent.parent / "results" / "methods"
DATA = RESULTS / "direction.json"
ROLLOUTS = (1, 30, 80)  # of grpo, at which it is measured
SEEDS = 8  # rollouts over which it is measured
LAB = "lab"


def directions(logits: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """Return d of each token, `(batch, tokens)`, from the logits from which it was sampled."""
    logps = logits.log_softmax(-1)
    entropy = -(logps.exp() * logps).sum(-1, keepdim=True)
    terms = logps.exp() * (logps + entropy)
    return terms.gather(-1, tokens.unsqueeze(-1)).squeeze(-1) - (logps.exp() * terms).sum(-1)


@torch.no_grad()
def measure(subject: Subject, model: PreTrainedModel) -> dict[str, float]:
    """Return entropy, the mean d of right and of wrong completions, and the share of tokens with d > 0."""
    found: dict[str, list[torch.Tensor]] = {"right": [], "wrong": []}
    for seed in range(SEEDS):
        rollout = generate(subject, seed, model)
        parts, advantages = logits_of(model, rollout), rollout.advantages.view(-1, rollout.per_prompt)
        for (logits, tokens, mask), own in zip(parts, advantages, strict=True):
            values = directions(logits.double(), tokens)
            for name, sign in (("right", 1.0), ("wrong", -1.0)):
                scored = mask & (sign * own > 1e-3).unsqueeze(1)
                found[name].append(torch.stack([values, own.abs().double().unsqueeze(1).expand_as(values)])[:, scored])
    parts = {name: torch.cat(values, dim=1) for name, values in found.items()}
    means = {name: rounded(((d * w).sum() / w.sum()).item()) for name, (d, w) in parts.items()}
    return {**means, **{f"{name}_above": rounded((d > 0.0).double().mean().item()) for name, (d, _) in parts.items()}}


def points_of(name: str, subject: Subject) -> Iterator[dict[str, Any]]:
    """Yield the measurement of a model; on the lab, those after several lengths of a run without control."""
    for rollouts in ROLLOUTS if name == LAB else (0,):
        model = subject.model
        if rollouts > 0:
            trainer, _ = train_on_lab(rollouts, 0, {"method": "grpo", "epsilon_high": None}, [])
            model = trainer.model.eval()
        entropy = said_by(model, generate(subject, SEEDS, model))[0].mean().item()
        yield {"model": name, "rollouts": rollouts, "entropy": rounded(entropy), **measure(subject, model)}


def run(name: str, subject: Subject) -> None:
    """Measure d of a model, in place of its former measurement."""
    torch.set_num_threads(1)
    others = [point for point in json.loads(DATA.read_text()) if point["model"] != name]
    points = sorted([*others, *points_of(name, subject)], key=lambda point: (point["model"] != LAB, point["model"]))
    DATA.write_text(json.dumps(points, indent=1) + "\n")


def report() -> str:
    """Return the table as Markdown."""
    rows = [["model", "rollouts of grpo", "entropy, nats", "d, right", "d, wrong", "tokens with d > 0, right", "wrong"]]
    for p in json.loads(DATA.read_text()):
        shares = [f"{p[name]:.2f}" for name in ("right_above", "wrong_above")]
        means = [f"{p[name]:.4f}" for name in ("right", "wrong")]
        rows.append([p["model"], str(p["rollouts"]), f"{p['entropy']:.3f}", *means, *shares])
    return table(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("run", "report"))
    add_subject(parser)
    options = parser.parse_args()
    check_subject(parser, options)
    if options.command == "run":
        run(options.name, subject_of(options))
    (RESULTS / "direction.md").write_text(report())
    print(report())


if __name__ == "__main__":
    main()
