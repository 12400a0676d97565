"""The update phase of TRL and of es_trl on the same injected rollouts: seconds, peak memory and losses.

python benchmarks/update_phase.py run                      # all cases that are not in the data: about an hour on a CPU
python benchmarks/update_phase.py run --cases workload     # these cases, also if they are in the data
python benchmarks/update_phase.py run --quick              # the same code in seconds, to runs/update_phase
python benchmarks/update_phase.py report                   # from the data: summary.md

The phase lasts from the end of generation, which is before the old log-probabilities, to the last update. The variants
take turns in one process with one thread. The cases of a GPU run only where there is one.
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from injected import ON_GPU, VARIANTS, Case, Shape, is_known, machine, train
from lab_run import rounded
from meters import CPUClock, CPUMemory, GPUClock, Meter
from update_phase_report import load, report


ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "results" / "update_phase"
REPETITIONS = 3
GPU_PHASES = 3  # measured phases of a run on a GPU
LONG_PROMPTS = {"prompt": 256, "mean": 64, "longest": 512}
CPU_CASES = {
    "workload": Case(),
    "fill 0.5": Case(longest=200),
    "fill 0.2": Case(longest=500),
    "fill 0.1": Case(longest=1000),
    "uniform": Case(longest=200, lengths="uniform"),
    "long prompts": Case(**LONG_PROMPTS),
    "long prompts, 32 each": Case(**LONG_PROMPTS, per_prompt=32),
    "32 completions": Case(completions=32),
    "128 completions": Case(completions=128),
}
QWEN_1_5B = Shape(1536, 8960, 28, 12, 2, 151_936, checkpointing=True)  # the sizes of Qwen2.5-1.5B
GPU_CASES = {
    "1.5B, 4k": Case(32, 8, 820, 4096, prompt=256, shape=QWEN_1_5B),
    "1.5B, 16k": Case(32, 8, 3277, 16_384, prompt=256, shape=QWEN_1_5B),
}
QUICK = {"quick": Case(8, 4, 10, 40, prompt=6, micro_batch=2, updates=2, shape=Shape(32, 64, 1, 2, 1, 64))}


def clocked(variant: str, case: Case) -> tuple[list[float], Meter, float | None]:
    """Return the seconds of the update phases of a run, its meter, and on a GPU their peak memory in bytes."""
    if not ON_GPU:
        clock = CPUClock(case.updates)
        train(variant, case, clock, 1, {})
        return clock.phases, clock, None
    clock = GPUClock(case.updates)
    train(variant, case, clock, 1 + GPU_PHASES, {})  # the first rollout loads kernels
    return clock.phases[1:], clock, clock.peak


def peak_of(variant: str, case: Case) -> float:
    """Return the peak memory of one update phase on a CPU, bytes."""
    memory = CPUMemory(case.updates)
    train(variant, case, memory, 1, {})
    return memory.peak


def measure(name: str, case: Case, repetitions: int) -> list[dict[str, Any]]:
    """Return one record per variant, from repetitions in which the variants take turns and from runs for memory."""
    variants = [variant for variant in VARIANTS if is_known(variant)]
    seconds: dict[str, list[float]] = {variant: [] for variant in variants}
    records = {}
    for _ in range(repetitions):
        for variant in variants:
            took, meter, peak = clocked(variant, case)
            seconds[variant] += took
            first = slice(case.updates)  # the updates of the first rollout, from the same weights in all variants
            records[variant] = {"losses": meter.losses[first], "gradient_norms": meter.gradient_norms[first]}
            records[variant]["peak"] = peak
    sizes = {field: value for field, value in asdict(case).items() if field != "shape"}
    return [
        {
            "case": name,
            "variant": variant,
            "sizes": sizes,
            "tokens": sum(case.completion_lengths()) + case.per_prompt * sum(case.prompt_lengths()),
            "on_gpu": ON_GPU,
            "seconds": [rounded(value) for value in seconds[variant]],
            **records[variant],
            "peak": records[variant]["peak"] if ON_GPU else peak_of(variant, case),
            **machine(),
        }
        for variant in variants
    ]


def run(cases: dict[str, Case], data: Path, repetitions: int) -> None:
    """Measure cases, and write the records of each into the data in place of its former ones when it is done."""
    for name, case in cases.items():
        records = {**load(data), **{(one["case"], one["variant"]): one for one in measure(name, case, repetitions)}}
        data.parent.mkdir(parents=True, exist_ok=True)
        data.write_text("".join(json.dumps(record) + "\n" for record in records.values()))
        print(name, {key[1]: record["seconds"] for key, record in records.items() if key[0] == name}, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("run", "report"))
    known = {**CPU_CASES, **GPU_CASES}
    parser.add_argument("--cases", nargs="+", choices=list(known), help="measure these cases, also if they are known")
    parser.add_argument("--repetitions", type=int, default=REPETITIONS, help="runs of each variant")
    parser.add_argument("--quick", action="store_true", help="one tiny case, into runs/update_phase")
    options = parser.parse_args()
    folder = ROOT / "runs" / "update_phase" if options.quick else RESULTS
    data = folder / "runs.jsonl"
    cases = QUICK if options.quick else known
    if options.command == "run":
        done = {case for case, _ in load(data)}
        here = QUICK if options.quick else GPU_CASES if ON_GPU else CPU_CASES
        wanted = options.cases or [name for name in here if options.quick or name not in done]
        run({name: cases[name] for name in wanted}, data, options.repetitions)
    print(report(load(data), list(cases), folder))


if __name__ == "__main__":
    main()
