"""The direction in which training on wrong completions moves entropy on the lab; Entrocraft and EntroPIC depend on it.

python benchmarks/direction.py run      # some minutes on one core
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
from pathlib import Path


os.environ["OMP_NUM_THREADS"] = "1"  # before torch

import torch
from control_report import table
from lab_run import rounded, train_on_lab

from es_trl import ESGRPOTrainer
from es_trl.lab import countdown_dataset, countdown_reward


RESULTS = Path(__file__).parent.parent / "results" / "methods"
DATA = RESULTS / "direction.json"
ROLLOUTS = (1, 30, 80)  # of grpo, at which it is measured
SAMPLES = 8


def directions(logits: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """Return d of each token, `(batch, tokens)`, from the logits from which it was sampled."""
    logps = logits.log_softmax(-1)
    entropy = -(logps.exp() * logps).sum(-1, keepdim=True)
    terms = logps.exp() * (logps + entropy)
    return terms.gather(-1, tokens.unsqueeze(-1)).squeeze(-1) - (logps.exp() * terms).sum(-1)


@torch.no_grad()
def measure(trainer: ESGRPOTrainer) -> dict[str, float]:
    """Return the mean d of right and of wrong completions over 256 prompts, and the share of tokens with d > 0."""
    model, tokenizer = trainer.model.eval(), trainer.processing_class
    torch.manual_seed(0)
    found: dict[str, list[torch.Tensor]] = {"right": [], "wrong": []}
    for first in range(0, 256, 64):
        rows = countdown_dataset(256, seed=77)[first : first + 64]
        prompts = tokenizer(rows["prompt"], return_tensors="pt", padding=True)
        options = {"do_sample": True, "top_k": 0, "max_new_tokens": 16, "num_return_sequences": SAMPLES}
        ids = model.generate(**prompts, **options, pad_token_id=tokenizer.pad_token_id)
        tokens = ids[:, prompts["input_ids"].shape[1] :]
        columns = {name: [v for v in values for _ in range(SAMPLES)] for name, values in rows.items()}
        texts = tokenizer.batch_decode(tokens, skip_special_tokens=True)
        rewards = torch.tensor(countdown_reward(completions=texts, **columns)).view(-1, SAMPLES)
        advantages = ((rewards - rewards.mean(1, keepdim=True)) / (rewards.std(1, keepdim=True) + 1e-4)).flatten()
        prompt_mask = prompts["attention_mask"].repeat_interleave(SAMPLES, 0)
        attention = torch.cat([prompt_mask, torch.ones_like(tokens)], dim=1)
        logits = model(ids, attention_mask=attention).logits[:, -tokens.shape[1] - 1 : -1].double()
        ended = (tokens == tokenizer.eos_token_id).int()
        scored = (ended.cumsum(1) - ended == 0).double()
        for name, sign in (("right", 1.0), ("wrong", -1.0)):
            chosen = sign * advantages > 1e-3
            weights = advantages[chosen].abs().unsqueeze(1) * scored[chosen]
            values = directions(logits[chosen], tokens[chosen])
            found[name].append(torch.stack([values, weights])[:, weights > 0.0])
    parts = {name: torch.cat(values, dim=1) for name, values in found.items()}
    means = {name: rounded(((d * w).sum() / w.sum()).item()) for name, (d, w) in parts.items()}
    return {**means, **{f"{name}_above": rounded((d > 0.0).double().mean().item()) for name, (d, _) in parts.items()}}


def run() -> None:
    """Measure d after several lengths of a run without control."""
    torch.set_num_threads(1)
    points = []
    for rollouts in ROLLOUTS:
        trainer, _ = train_on_lab(rollouts, 0, {"method": "grpo", "epsilon_high": None}, [])
        entropy = rounded(trainer.history.records[-1]["entropy"])
        points.append({"rollouts": rollouts, "entropy": entropy, **measure(trainer)})
    DATA.write_text(json.dumps(points, indent=1) + "\n")


def report() -> str:
    """Return the table as Markdown."""
    rows = [["rollouts of grpo", "entropy, nats", "d, right", "d, wrong", "tokens with d > 0, right", "wrong"]]
    for p in json.loads(DATA.read_text()):
        shares = [f"{p[name]:.2f}" for name in ("right_above", "wrong_above")]
        rows.append([str(p["rollouts"]), f"{p['entropy']:.3f}", f"{p['right']:.4f}", f"{p['wrong']:.4f}", *shares])
    return table(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("run", "report"))
    if parser.parse_args().command == "run":
        run()
    (RESULTS / "direction.md").write_text(report())
    print(report())


if __name__ == "__main__":
    main()
