"""The math reward on hostile, gold and easy answers: `python benchmarks/math_reward.py`.

It takes about six minutes with one worker. The gold answers are those of GSM8K and MATH-500 in `../shared/data`; a
dataset that is missing there is skipped.
"""

import contextlib
import json
import os
import sys
import threading
import time
from pathlib import Path


ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from hostile_answers import hostile_answers  # noqa: E402
from math_workers import descendants, status_kib  # noqa: E402

from es_trl.rewards import final_answer  # noqa: E402
from es_trl.rewards.workers import Workers  # noqa: E402


SECONDS = 5.0


def watch(peaks: list[int], done: threading.Event) -> None:
    """Record the largest resident memory of any worker, KiB."""
    while not done.wait(0.05):
        with contextlib.suppress(OSError, StopIteration):  # a worker may end in between
            for process in descendants(os.getpid()):
                peaks[0] = max(peaks[0], status_kib(process, "VmHWM"))


def judge_hostile(pool: Workers) -> list[str]:
    """Judge each hostile answer separately against the gold answer 7."""
    peaks, done = [0], threading.Event()
    threading.Thread(target=watch, args=(peaks, done), daemon=True).start()
    seconds, outcomes = [], []
    for answer in hostile_answers().values():
        began = time.perf_counter()
        outcomes += pool.ask([("is_right", (answer, ["7"]))], SECONDS)
        seconds.append(time.perf_counter() - began)
    done.set()
    return [
        f"| hostile answers, accepted | {sum(outcome is True for outcome in outcomes)} of {len(outcomes)} |",
        f"| hostile answers ended at the deadline of {SECONDS:g} s or by the memory limit | {outcomes.count(None)} |",
        f"| slowest hostile answer, s | {max(seconds):.2f} |",
        f"| largest resident memory of a worker, MiB | {peaks[0] / 1024:.0f} |",
    ]


def judge_golds(pool: Workers, name: str) -> list[str]:
    """Judge each gold answer of a dataset against itself, written in four ways."""
    path = ROOT.parent / "shared" / "data" / name / "test.jsonl"
    if not path.exists():
        return [f"| {name} | not measured |"]
    golds = [json.loads(line)["answer"] for line in path.read_text().splitlines()]
    answers = [final_answer(gold) for gold in golds]
    ways = {
        "in a box": [f"So it is $\\boxed{{{answer}}}$." for answer in answers],
        "bare": answers,
        "in tags": [f"It is <answer>{answer}</answer>" for answer in answers],
        "as the whole solution": golds,
    }
    rows = []
    for way, texts in ways.items():
        questions = [("is_right", (text, [gold])) for text, gold in zip(texts, golds, strict=True)]
        right = sum(outcome is True for outcome in pool.ask(questions, SECONDS))
        rows.append(f"| {name}, gold answers {way}, right of all | {right} of {len(golds)} |")
    return rows


def main() -> None:
    pool = Workers(1)
    began = time.perf_counter()
    list(pool.ask([("is_right", ("\\boxed{7}", ["7"]))], 60.0))
    start = time.perf_counter() - began
    began = time.perf_counter()
    list(pool.ask([("is_right", (f"\\boxed{{{number}}}", [f"{number}"])) for number in range(512)], SECONDS))
    easy = time.perf_counter() - began
    rows = [f"| start of a worker, s | {start:.1f} |", f"| 512 easy answers, s | {easy:.1f} |"]
    rows += [*judge_golds(pool, "math500"), *judge_golds(pool, "gsm8k"), *judge_hostile(pool)]
    folder = ROOT / "results" / "math_reward"
    folder.mkdir(parents=True, exist_ok=True)
    head = ["# The math reward", "", "| one worker, one CPU core | |", "|---|---|"]
    (folder / "summary.md").write_text("\n".join([*head, *rows, "", "Made by `python benchmarks/math_reward.py`.", ""]))
    print(*rows, sep="\n")


if __name__ == "__main__":
    main()
