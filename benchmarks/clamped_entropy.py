"""AEnt's clamped entropy: its cost relative to TRL's fused head, and the effect of dropping the tail.

python benchmarks/clamped_entropy.py run      # about six minutes on one core
python benchmarks/clamped_entropy.py costs    # only the cost
python benchmarks/clamped_entropy.py report   # from the committed data: summary.md

results/methods shows its effect on the lab: compare `aent` with `aent, p = 0`, the same rule without the clamp.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any


os.environ["OMP_NUM_THREADS"] = "1"  # before torch

import torch
from control_report import table
from trl.trainer.utils import _CHUNKED_LOGPROB_CHUNK_SIZE, _ChunkedLogProbFunction

from es_trl.actuators.clamped_head import ClampedLogProbs


RESULTS = Path(__file__).parent.parent / "results" / "clamped_entropy"
VOCABULARY = 151_936  # size in Qwen2.5
TOKENS = 8192
HIDDEN = 896  # size in Qwen2.5-0.5B
SHARES = (0.25, 0.33, 0.5, 0.9)  # the paper uses 0.25 to 0.33


def cost(head: str) -> dict[str, float]:
    """Return time (s) and peak memory (MiB above hidden states and weights) of one forward and backward pass."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    hidden = torch.randn(TOKENS, HIDDEN, requires_grad=True)
    weight = (torch.randn(VOCABULARY, HIDDEN) / HIDDEN**0.5).requires_grad_()
    targets = torch.randint(VOCABULARY, (TOKENS,))
    before = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20
    begin = time.perf_counter()
    if head == "fused":
        options = (1.0, _CHUNKED_LOGPROB_CHUNK_SIZE, None, 1.0, ("log_probs", "entropy"))
        logps, entropy, *_ = _ChunkedLogProbFunction.apply(hidden, weight, None, targets, *options)
    else:
        logps, _, entropy, *_ = ClampedLogProbs.apply(0.33, hidden, weight, None, targets, 1.0, 0, None, 1.0, ())
    (logps.mean() + entropy.mean()).backward()
    seconds = time.perf_counter() - begin
    return {"seconds": seconds, "mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - before}


def synthetic(kind: str, scale: float) -> torch.Tensor:
    """Return logits of 16 tokens: a tail over the whole vocabulary, and five likely tokens above it."""
    generator = torch.Generator().manual_seed(0)
    if kind == "gaussian":
        logits = torch.randn(16, VOCABULARY, generator=generator, dtype=torch.float64) * 2.0
    else:  # a power law of the ranks, as word frequencies have
        logits = -torch.arange(1, VOCABULARY + 1, dtype=torch.float64).log().repeat(16, 1)
    logits[:, :5] += scale - torch.arange(5, dtype=torch.float64)
    return logits


def change(kind: str, scale: float, share: float) -> dict[str, Any]:
    """Return how much entropy and its gradient by the logits change, relatively, without `share` of the vocabulary."""
    logits = synthetic(kind, scale).requires_grad_()
    logps = logits.log_softmax(-1)
    entropy = -(logps.exp() * logps).sum(-1)
    (plain,) = torch.autograd.grad(entropy.sum(), logits)
    dropped = int(share * VOCABULARY)
    threshold = logits.detach().kthvalue(dropped + 1, dim=-1, keepdim=True).values
    kept = logits.masked_fill(logits.detach() < threshold, -1e9).log_softmax(-1)
    clamped = -(kept.exp() * kept).sum(-1)
    (own,) = torch.autograd.grad(clamped.sum(), logits)
    return {
        "kind": kind,
        "scale": scale,
        "share": share,
        "entropy": entropy.mean().item(),
        "entropy_change": ((clamped - entropy).abs() / entropy).mean().item(),
        "gradient_change": ((own - plain).norm(dim=-1) / plain.norm(dim=-1)).mean().item(),
    }


def measure_costs() -> dict[str, dict[str, float]]:
    """Measure the cost of each head, each in its own process."""
    costs = {}
    for head in ("fused", "clamped"):
        done = subprocess.run([sys.executable, __file__, "cost", head], capture_output=True, text=True, check=True)
        costs[head] = json.loads(done.stdout.splitlines()[-1])
        print(head, costs[head], flush=True)
    return costs


def run() -> None:
    """Measure costs and changes."""
    changes = [
        change(kind, scale, share)
        for kind, scales in (("gaussian", (18.0, 20.0, 24.0)), ("power law", (6.0, 8.0, 12.0)))
        for scale in scales
        for share in SHARES
    ]
    RESULTS.mkdir(parents=True, exist_ok=True)
    versions = {package: version(package) for package in ("torch", "trl")}
    data = {"costs": measure_costs(), "changes": changes, "versions": versions}
    (RESULTS / "data.json").write_text(json.dumps(data, indent=1) + "\n")


def report() -> str:
    """Return the tables as Markdown."""
    data = json.loads((RESULTS / "data.json").read_text())
    fused, clamped = data["costs"]["fused"], data["costs"]["clamped"]
    rows = [["head", "time, s", "peak memory above hidden states and weights, MiB"]]
    rows += [[name, f"{own['seconds']:.0f}", f"{own['mib']:.0f}"] for name, own in data["costs"].items()]
    tails = [["tail", "entropy, nats", "p", "change of the entropy", "change of its gradient"]]
    for c in data["changes"]:
        cells = [f"{100.0 * c[name]:.2g} %" for name in ("entropy_change", "gradient_change")]
        tails.append([c["kind"], f"{c['entropy']:.3f}", f"{c['share']:g}", *cells])
    parts = [
        "# AEnt's clamped entropy",
        "`python benchmarks/clamped_entropy.py run`; " + ", ".join(f"{n} {v}" for n, v in data["versions"].items()),
        f"## Cost\n\nForward and backward of {TOKENS:,} tokens x {VOCABULARY:,} of vocabulary, {HIDDEN} hidden, "
        "float32, one CPU core.\n\n"
        "- `fused`: TRL's head, with log-probabilities and entropy.\n"
        "- `clamped`: ours, with log-probabilities, entropy and clamped entropy. It takes "
        f"{clamped['seconds'] / fused['seconds']:.2f} times as long.\n"
        f"- Both include {4 * VOCABULARY * HIDDEN / 2**20:.0f} MiB for the gradient of the weights.",
        table(rows).rstrip(),
        "## Effect of the clamp\n\nThe changes are relative to the entropy over the whole vocabulary. The logits are "
        "synthetic: five likely tokens above a tail.",
        table(tails).rstrip(),
    ]
    return "\n\n".join(parts) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("run", "costs", "report", "cost"))
    parser.add_argument(
        "head", nargs="?", choices=("fused", "clamped"), help="head to measure with `cost`, which `run` calls"
    )
    options = parser.parse_args()
    if options.command == "cost":
        print(json.dumps(cost(options.head)))
        return
    if options.command == "run":
        run()
    if options.command == "costs":
        data = json.loads((RESULTS / "data.json").read_text())
        (RESULTS / "data.json").write_text(json.dumps({**data, "costs": measure_costs()}, indent=1) + "\n")
    (RESULTS / "summary.md").write_text(report())
    print(report())


if __name__ == "__main__":
    main()
