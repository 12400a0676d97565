"""What decides whether the upper clip moves entropy, and in which direction: one rollout of the Countdown lab per case.

python benchmarks/clip_probe.py run      # about five minutes on one core
python benchmarks/clip_probe.py report   # from the committed data: probe.md

The same completions are trained on under several clip bounds, each time from the same weights with a fresh optimizer.
The entropy is then measured again on the same tokens.
"""

import argparse
import copy
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any


os.environ["OMP_NUM_THREADS"] = "1"  # before torch

import torch
from control_report import table
from direction import directions
from lab_run import rounded
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from es_trl.lab import BASE_MODEL, countdown_dataset, countdown_reward
from es_trl.lab.make_base import main as make_base


ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "results" / "clip_lab"
SUMS_BASE = ROOT / "runs" / "sums_base"
BOUNDS = ((0.2, 0.0), (0.2, 0.28), (0.2, 9.0), (0.6, 0.0), (0.6, 9.0))  # epsilon and epsilon_high
PROMPTS, SAMPLES, UPDATES = 64, 8, 8


@dataclass(frozen=True)
class Case:
    """One setting of the probe. `no_sums` leaves out the prompts that a sum solves."""

    learning_rate: float = 1e-4
    passes: int = 1
    temperature: float = 1.0
    numbers: int = 3
    model: str = BASE_MODEL
    no_sums: bool = False
    coin: bool = False  # random rewards


SUMS = {"model": str(SUMS_BASE), "learning_rate": 2e-4, "passes": 4}
CASES = {
    "the lab: 1e-4, one pass": Case(),
    "4 passes": Case(passes=4),
    "8 passes": Case(passes=8),
    "1e-3": Case(1e-3),
    "2e-4, 4 passes": Case(2e-4, 4),
    "1e-3, 4 passes": Case(1e-3, 4),
    "1e-3, 4 passes, temperature 1.5": Case(1e-3, 4, 1.5),
    "1e-3, 4 passes, four numbers": Case(1e-3, 4, numbers=4),
    "2e-4, 4 passes, random rewards": Case(2e-4, 4, coin=True),
    "2e-4, 4 passes, base of sums": Case(**SUMS),
    "2e-4, 4 passes, base of sums, no sum right": Case(**SUMS, no_sums=True),
}


@dataclass(frozen=True)
class Rollout:
    """Completions with their advantages. All but `advantages` (completions,) are (completions, tokens)."""

    ids: torch.Tensor  # with the prompts
    attention: torch.Tensor  # with the prompts
    mask: torch.Tensor
    advantages: torch.Tensor
    accuracy: float
    temperature: float

    def logits(self, model: PreTrainedModel, rows: torch.Tensor | slice = slice(None)) -> torch.Tensor:
        """Return the logits of the completions' tokens."""
        tokens = self.mask.shape[1]
        logits = model(self.ids[rows], attention_mask=self.attention[rows]).logits[:, -tokens - 1 : -1]
        return logits / self.temperature

    def logps(self, logits: torch.Tensor, rows: torch.Tensor | slice = slice(None)) -> torch.Tensor:
        """Return the log-probabilities of the tokens."""
        tokens = self.ids[rows, -self.mask.shape[1] :]
        return logits.log_softmax(-1).gather(-1, tokens.unsqueeze(-1)).squeeze(-1)


@torch.no_grad()
def sample(model: PreTrainedModel, case: Case) -> Rollout:
    """Return a rollout of the case; the seed is always the same."""
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(case.model)
    rows = countdown_dataset(1000, seed=5, num_numbers=(case.numbers,))
    if case.no_sums:
        rows = rows.filter(lambda row: sum(row["numbers"]) != row["target"])
    rows = rows[:PROMPTS]
    prompts = tokenizer(rows["prompt"], return_tensors="pt", padding=True)
    options = {"do_sample": True, "top_k": 0, "max_new_tokens": 16, "num_return_sequences": SAMPLES}
    ids = model.generate(**prompts, **options, temperature=case.temperature, pad_token_id=tokenizer.pad_token_id)
    tokens = ids[:, prompts["input_ids"].shape[1] :]
    columns = {name: [value for value in values for _ in range(SAMPLES)] for name, values in rows.items()}
    texts = tokenizer.batch_decode(tokens, skip_special_tokens=True)
    rewards = torch.tensor(countdown_reward(completions=texts, **columns))
    if case.coin:
        rewards = torch.randint(2, rewards.shape) * 2.0 - 1.0
    groups = rewards.view(-1, SAMPLES)
    advantages = (groups - groups.mean(1, keepdim=True)) / (groups.std(1, keepdim=True) + 1e-4)
    ended = (tokens == tokenizer.eos_token_id).int()
    mask = (ended.cumsum(1) - ended == 0).float()
    attention = torch.cat([prompts["attention_mask"].repeat_interleave(SAMPLES, 0), mask.long()], dim=1)
    accuracy = (rewards > 0.0).float().mean().item()
    return Rollout(ids, attention, mask, advantages.flatten(), accuracy, case.temperature)


def train(model: PreTrainedModel, rollout: Rollout, old: torch.Tensor, case: Case, bounds: tuple[float, float]) -> None:
    """Make the updates of one rollout with the clipped loss, token mean, as in TRL's `dapo`."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=case.learning_rate, weight_decay=0.0)
    generator = torch.Generator().manual_seed(0)
    for _ in range(case.passes):
        for rows in torch.randperm(len(rollout.advantages), generator=generator).chunk(UPDATES):
            ratio = (rollout.logps(rollout.logits(model, rows), rows) - old[rows]).exp()
            advantages, mask = rollout.advantages[rows].unsqueeze(1), rollout.mask[rows]
            clipped = ratio.clamp(1.0 - bounds[0], 1.0 + bounds[1])
            loss = -(torch.min(ratio * advantages, clipped * advantages) * mask).sum() / mask.sum()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()


def mean_of(values: torch.Tensor, weights: torch.Tensor) -> float | None:
    """Return a weighted mean, or `None` without any weight."""
    return rounded(((values * weights).sum() / weights.sum()).item()) if weights.sum() > 0.0 else None


def entropy_of(logits: torch.Tensor) -> torch.Tensor:
    """Return the entropy of each token, nats."""
    return torch.distributions.Categorical(logits=logits).entropy()


def measure(name: str) -> dict[str, Any]:
    """Return the entropy before and after the updates of a case, and what the widest upper clip let through."""
    case = CASES[name]
    base = AutoModelForCausalLM.from_pretrained(case.model, dtype=torch.float32).eval()
    rollout = sample(base, case)
    with torch.no_grad():
        logits = rollout.logits(base)
    old, d, mask = rollout.logps(logits), directions(logits, rollout.ids[:, -rollout.mask.shape[1] :]), rollout.mask
    advantages = rollout.advantages.unsqueeze(1)
    found = {"case": name, "entropy": mean_of(entropy_of(logits), mask), "accuracy": rounded(rollout.accuracy)}
    found["d_right"] = mean_of(d, mask * (advantages > 1e-3))
    for bounds in BOUNDS:
        model = copy.deepcopy(base)
        train(model, rollout, old, case, bounds)
        with torch.no_grad():
            after = rollout.logits(model)
        ratio = (rollout.logps(after) - old).exp()
        found[f"{bounds[0]}/{bounds[1]}"] = mean_of(entropy_of(after), mask)
        if bounds == (0.2, 9.0):
            above = mask * (advantages > 0.0) * (ratio > 1.28)
            found["off"], found["above"] = mean_of((ratio - 1.0).abs(), mask), mean_of(above, mask)
            found["p_above"], found["d_above"] = mean_of(old.exp(), above), mean_of(d, above)
    return found


def report() -> str:
    """Return the table as Markdown."""
    names = [f"{low}/{high}" for low, high in BOUNDS]
    rows = [["case", "entropy", "accuracy", "d, right", *names, "ratios off", "tokens above", "their p", "their d"]]
    for p in map(json.loads, (RESULTS / "probe.jsonl").read_text().splitlines()):
        effects = [f"{p[name] - p['entropy']:+.3f}" for name in names]
        start = [f"{p['entropy']:.3f}", f"{p['accuracy']:.2f}", f"{p['d_right']:+.4f}"]
        none = ["-", "-"] if p["p_above"] is None else [f"{p['p_above']:.2f}", f"{p['d_above']:+.3f}"]
        rows.append([p["case"], *start, *effects, f"{p['off']:.3f}", f"{p['above']:.3f}", *none])
    return (
        "# Authority of the upper clip in one rollout\n\n"
        f"{PROMPTS} prompts x {SAMPLES} completions, {UPDATES} updates per pass, fresh AdamW.\n\n"
        "- A column such as 0.2/9.0: change of entropy on the same tokens, nats, with `epsilon` 0.2 and "
        "`epsilon_high` 9.0.\n"
        "- Ratios off: mean of |ratio - 1| after the updates with 0.2/9.0.\n"
        "- Tokens above: share of the tokens with positive advantage and a ratio above 1.28 there, with the mean of "
        "their probability and of their d before the updates.\n"
        "- d: see `benchmarks/direction.py`. Where it is above 0, a positive advantage lowers entropy.\n\n"
        + table(rows)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("run", "report"))
    if parser.parse_args().command == "run":
        torch.set_num_threads(1)
        if not SUMS_BASE.exists():
            make_base([str(SUMS_BASE), "--sums", "--steps", "700"])
        RESULTS.mkdir(parents=True, exist_ok=True)
        with open(RESULTS / "probe.jsonl", "w") as file:
            for name in CASES:
                file.write(json.dumps(measure(name)) + "\n")
                file.flush()
    (RESULTS / "probe.md").write_text(report())
    print(report())


if __name__ == "__main__":
    main()
