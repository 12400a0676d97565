"""Arithmetic in words: "Seven plus five is" asks for 12. Each of its three operations has a difficulty of its own.

SmolLM2-135M-Instruct answers such a question in some tokens, and a part of its completions is right by the math reward.
"""

import itertools
import json
import random
from pathlib import Path

from ..common.writing import write_atomically


Row = dict[str, str | int]

HELD_OUT = 0.2  # share of the pairs of numbers
SEED = 0  # of the split
_ONES = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
_LARGEST = 12  # a product of two such numbers is in the tables that people learn


def in_words(number: int) -> str:
    """Return a number from 0 to 29 in words: `in_words(24)` is `"twenty-four"`."""
    if number < 20:
        return _ONES[number]
    return "twenty" if number == 20 else f"twenty-{_ONES[number - 20]}"


def word_sums() -> tuple[list[Row], list[Row]]:
    """
    Return all questions of the task, in two parts.

    Level 1 has products of two numbers from 2 to 12, level 2 has sums of two numbers from 1 to 12, and level 3 has
    differences, which undo those sums. In each level, 20 % of the pairs of numbers are held out, in either order.

    Returns:
        `tuple[list[dict], list[dict]]`: the rows to train on and those held out, in random order. A row has `question`
        (str), `answer` (str) and `level` (int, 1 to 3, of which 3 is the hardest for the model).
    """
    rng = random.Random(SEED)
    kept, held_out = [], []
    for level, least in ((1, 2), (2, 1), (3, 1)):
        pairs = list(itertools.combinations_with_replacement(range(least, _LARGEST + 1), 2))
        rng.shuffle(pairs)
        for place, pair in enumerate(pairs):
            part = held_out if place < HELD_OUT * len(pairs) else kept
            part += [_row(level, *order) for order in sorted({pair, pair[::-1]})]
    rng.shuffle(kept)
    rng.shuffle(held_out)
    return kept, held_out


def _row(level: int, left: int, right: int) -> Row:
    """Return the row of two numbers; the left one is the answer of a difference."""
    if level == 3:
        question, answer = f"{in_words(left + right)} minus {in_words(right)}", left
    else:
        name, answer = ("times", left * right) if level == 1 else ("plus", left + right)
        question = f"{in_words(left)} {name} {in_words(right)}"
    return {"question": question.capitalize(), "answer": str(answer), "level": level}


def write_word_sums(folder: Path) -> None:
    """Write `train.jsonl` and `held_out.jsonl` of [`word_sums`] into a folder, or raise a `SaveError`."""
    for name, rows in zip(("train", "held_out"), word_sums(), strict=True):
        write_atomically(folder / f"{name}.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
