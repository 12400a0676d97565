"""Gold answers: their allowed values, and the check that the judge can read them."""

import hashlib
import os
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from huggingface_hub import constants
from transformers.utils import logging

from ..common.shown import shown_with_type
from .answers import final_answer
from .notation import MAX_DIGITS, number_text, shortest
from .workers import workers


logger = logging.get_logger(__name__)

SECONDS_PER_ANSWER = 5.0


def gold_texts(gold: Any, row: int | str) -> list[str]:
    """
    Return the texts of a gold answer. An answer that equals one of them is right.

    Args:
        gold (`str`, number, or list of these):
            The gold answer, or a list of alternatives. Text is kept, and a finite number is written with all digits.
        row (`int` or `str`):
            Name of its place in errors: a row of `solution`, or text such as "`answer` of row 3 of train.jsonl".

    Returns:
        `list[str]`: at least one text.

    Raises:
        ValueError: if the value is an empty list, not finite, too long, or of another type.
    """
    where = row if isinstance(row, str) else f"`solution` of row {row}"
    if isinstance(gold, list | tuple) and not gold:
        raise ValueError(f"{where} must have an answer, got an empty list: add the answer, or drop the row")
    return [_text(value, where) for value in (gold if isinstance(gold, list | tuple) else [gold])]


def check_golds(golds: Sequence[Any], describe: Callable[[int], str] | str) -> None:
    """
    Raise unless the judge can read every gold answer and finds it equal to itself.

    Equal answers are judged once. A set of answers that has passed is not judged again on this machine.

    Args:
        golds (`Sequence`):
            One gold answer per row, as [`gold_texts`] takes it.
        describe (`str` or `Callable[[int], str]`):
            Name of the dataset, or a function from a row's number to its name in errors.

    Raises:
        ValueError: if a gold answer cannot be judged, or math-verify is not installed.
    """
    check_installed()
    name = describe if callable(describe) else lambda row: f"row {row} of {describe}"
    texts = [gold_texts(gold, f"the answer in {name(row)}") for row, gold in enumerate(golds)]
    answers = [[final_answer(text) for text in alternatives] for alternatives in texts]
    distinct = list(dict.fromkeys(answer for alternatives in answers for answer in alternatives))
    passed = Path(constants.HF_HOME) / "es_trl" / "golds" / _digest(distinct)
    if passed.exists():
        return
    outcomes = logging.tqdm(
        workers().ask([("equals_itself", (answer,)) for answer in distinct], SECONDS_PER_ANSWER),
        total=len(distinct),
        desc="Reading gold answers",
        mininterval=1.0,
        disable=len(distinct) < 1000 or os.environ.get("LOCAL_RANK", "0") != "0",
    )
    wrong = {answer for answer, outcome in zip(distinct, outcomes, strict=True) if outcome is not True}
    rows = [row for row, alternatives in enumerate(answers) if wrong.intersection(alternatives)]
    if rows:
        named = ", ".join(map(name, rows[:5])) + (", ..." if len(rows) > 5 else "")
        first = next(text for text in texts[rows[0]] if final_answer(text) in wrong)
        fault = f"{len(rows)} of {len(texts)} gold answers, in {named}; the first is {end_of(first)}"
        advice = "correct or drop these rows, or set answer_column to the column with the answers"
        raise ValueError(f"math-verify cannot judge {fault}: {advice}")
    try:
        passed.parent.mkdir(parents=True, exist_ok=True)
        passed.touch()
    except OSError as error:
        logger.warning(f"{passed} cannot be written ({error}), so the next run will judge the gold answers again")


def check_installed() -> None:
    """Raise unless math-verify is installed."""
    try:
        version("math-verify")
    except ImportError:
        raise ValueError("the math reward needs math-verify: run pip install 'es-trl[math]'") from None


def end_of(text: str) -> str:
    """Return the `repr` of the last 80 characters of a text, where its answer is."""
    return repr(text if len(text) <= 80 else "..." + text[-80:])


def _text(value: Any, where: str) -> str:
    if isinstance(value, str):
        return value
    try:
        text = number_text(value)
    except ValueError:
        must = f"must be a number of at most {MAX_DIGITS} digits"
        raise ValueError(f"{where} {must}: give it as text, or drop the row") from None
    if text is None:
        must = f"must be text, a finite number, or a list of these, got {shown_with_type(value)}"
        raise ValueError(f"{where} {must}: correct or drop the row")
    return shortest(text)


def _digest(texts: list[str]) -> str:
    """Return a digest of the gold answers and of the code and packages that judge them."""
    versions = [version(package) for package in ("math-verify", "latex2sympy2-extended", "sympy")]
    rules = [Path(__file__).with_name(file).read_bytes() for file in ("answers.py", "notation.py", "judge.py")]
    return hashlib.sha256(repr((versions, rules, texts)).encode()).hexdigest()
