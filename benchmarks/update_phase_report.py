"""The tables of benchmarks/update_phase.py, made from its data."""

from pathlib import Path
from statistics import median
from typing import Any

import control_report
from control_report import table


KEY = ("case", "variant")
Record = dict[str, Any]
TITLES = {
    "trl": "TRL",
    "trimmed": "TRL, trimmed",
    "es_trl": "es_trl",
    "es_trl off": "es_trl, `micro_batches: completions`",
    "limit": "limit",
}
HEAD = ("seconds", "times TRL", "of the limit", "times trimming", "peak, MiB", "peak of TRL's", "losses", "gradients")
SWEEPS = {
    "Cost against the number of completions": ("32 completions", "workload", "128 completions"),
    "Cost against the longest completion, with the same tokens": ("fill 0.5", "fill 0.2", "fill 0.1"),
}
NOTES = (
    "- Seconds: median from the end of generation to the last update: CPU seconds on a CPU, CUDA events on a GPU.\n"
    "- Trimmed: TRL with each of its micro-batches cut to its own longest prompt and completion.\n"
    "- Limit: TRL on as many tokens without padding, in completions of equal length, measured in the same run.\n"
    "- Times TRL, times trimming, of the limit: speed relative to these.\n"
    "- Peak: on a CPU the parameters and all that PyTorch's allocator gave out in the phase, by its profiler, in runs "
    "of their own; on a GPU `torch.cuda.max_memory_allocated`.\n"
    "- Losses, gradients: largest difference to TRL's loss and gradient norm over the updates, relative to TRL's "
    "largest. All variants begin with the same weights and rollout.\n"
)


def load(path: Path) -> dict[tuple, Record]:
    """Return the records by case and variant."""
    return control_report.load(path, KEY)


def seconds(record: Record | None) -> float | None:
    """Return the median seconds of an update phase, or `None` without a record."""
    return None if record is None else median(record["seconds"])


def cell(value: float | None, form: str = ".2f") -> str:
    return "not measured" if value is None else format(value, form)


def ratio(above: float | None, below: float | None) -> float | None:
    return None if above is None or below is None else above / below


def difference(record: Record | None, reference: Record | None, name: str) -> float | None:
    """Return the largest difference of a series to the reference's, relative to the reference's largest value."""
    if record is None or reference is None:
        return None
    off = [abs(own - other) for own, other in zip(record[name], reference[name], strict=True)]
    return max(off) / max(map(abs, reference[name]))


def rows_of(records: dict[tuple, Record], case: str) -> list[list[str]]:
    """Return the table of one case, with one row per variant."""
    own = {variant: records.get((case, variant)) for variant in TITLES}
    time = {variant: seconds(record) for variant, record in own.items()}
    peak = {variant: None if record is None else record["peak"] for variant, record in own.items()}
    rows = [["variant", *HEAD]]
    for variant, record in own.items():
        row = [TITLES[variant], cell(time[variant])]
        row += [cell(ratio(time[other], time[variant])) for other in ("trl", "limit", "trimmed")]
        row += [cell(ratio(peak[variant], 2**20), ".0f"), cell(ratio(peak[variant], peak["trl"]))]
        for name in ("losses", "gradient_norms"):  # the limit has another rollout
            row.append("-" if variant == "limit" else cell(difference(record, own["trl"], name), ".0e"))
        rows.append(row)
    return rows


def sweep(records: dict[tuple, Record], cases: tuple[str, ...]) -> list[list[str]]:
    """Return a table of the milliseconds per 1000 tokens of each variant, with one row per case."""
    rows = [["case", "completions", "mean", "longest", "tokens", *TITLES.values()]]
    for case in cases:
        record = records.get((case, "trl"))
        if record is None:
            continue
        per_token = (ratio(seconds(records.get((case, variant))), record["tokens"] / 1e6) for variant in TITLES)
        sizes = [str(record["sizes"][name]) for name in ("completions", "mean", "longest")]
        rows.append([case, *sizes, str(record["tokens"]), *[cell(value, ".0f") for value in per_token]])
    return rows


def in_short(records: dict[tuple, Record], cases: list[str]) -> list[list[str]]:
    """Return es_trl's numbers as a table of cases that were measured."""
    rows = [["case", "times TRL", "of the limit", "times trimming", "peak of TRL's"]]
    for case in cases:
        (row,) = [row for row in rows_of(records, case) if row[0] == TITLES["es_trl"]]
        rows.append([case, *row[2:5], row[6]])
    return rows


def section(records: dict[tuple, Record], case: str) -> str:
    """Return the sizes and the table of one case."""
    record = records[case, "trl"]
    sizes, versions = record["sizes"], ", ".join(f"{name} {number}" for name, number in record["versions"].items())
    return (
        f"## {case}\n\n{sizes['completions']} completions, {sizes['per_prompt']} per prompt, prompts of about "
        f"{sizes['prompt']} tokens; lengths {sizes['lengths']}, mean {sizes['mean']}, at most {sizes['longest']}; "
        f"{record['tokens']} tokens, with the prompt of each completion; micro-batches of {sizes['micro_batch']}, "
        f"{sizes['updates']} updates; {len(record['seconds'])} repetitions; {record['hardware']}, "
        f"{record['threads']} thread(s), {versions}.\n\n"
        f"{table(rows_of(records, case))}"
    )


def report(records: dict[tuple, Record], cases: list[str], folder: Path) -> str:
    """Write `summary.md` into `folder` and return its text; `cases` are all names, in the order of the tables."""
    parts = ["# The update phase: es_trl and TRL on the same rollouts\n"]
    parts.append("`python benchmarks/update_phase.py run`\n")
    measured = [case for case in cases if (case, "trl") in records]
    parts += [NOTES, "## In short: es_trl\n", table(in_short(records, measured))]
    for title, swept in SWEEPS.items():
        if len(set(swept) & set(measured)) > 1:
            parts += [f"## {title}: milliseconds per 1000 tokens\n", table(sweep(records, swept))]
    parts += [section(records, case) for case in measured]
    if rest := [case for case in cases if case not in measured]:
        parts.append(f"Not measured: {', '.join(rest)}.\n")
    text = "\n".join(parts)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "summary.md").write_text(text)
    return text
