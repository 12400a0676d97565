"""Gold answers: which values they can be, and whether the judge can read them."""

import hashlib
import math
import numbers
import os
from collections.abc import Callable, Sequence
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path
from typing import Any

from huggingface_hub import constants
from transformers.utils import logging

from .answers import final_answer
from .notation import digits
from .workers import workers


logger = logging.get_logger(__name__)

SECONDS_PER_ANSWER = 5.0
_MANY = 1000  # golds from which on a progress bar is shown
_JUDGE_FILES = ("answers.py", "notation.py", "judge.py")


def gold_texts(gold: Any, row: int | str) -> list[str]:
    """
    The texts of a gold answer, any of which is right.

    Args:
        gold (`str`, number, or list of them):
            Text as it is, numbers with all their digits; a list holds alternatives.
        row (`int` or `str`):
            Its place for messages: a row of `solution`, or words such as "`answer` of row 3 of train.jsonl".

    Returns:
        `list[str]`: at least one.

    Raises:
        ValueError: for anything else, an empty list, NaN, infinity, or a number of more than 4300 digits.
    """
    where = row if isinstance(row, str) else f"`solution` of row {row}"
    alternatives = list(gold) if isinstance(gold, list | tuple) else [gold]
    texts = [value if isinstance(value, str) else _number_text(value, where) for value in alternatives]
    if not texts:
        raise ValueError(f"{where} must hold an answer, got an empty list: fill it in, or drop the row")
    return texts


def check_golds(golds: Sequence[Any], describe: Callable[[int], str] | str) -> None:
    """
    Raise unless the judge can read every gold answer and finds it equal to itself.

    Equal golds are judged once, and a set of golds that has passed is not judged again on this machine.

    Args:
        golds (sequence):
            Of every row, as [`gold_texts`] takes them.
        describe (`Callable` or `str`):
            Gives the name of a row by its number, as "row 3 of train.jsonl"; or the name of what the rows are of.

    Raises:
        ValueError: for a gold that [`gold_texts`] refuses, or that cannot be judged; it names the rows.
    """
    name = describe if callable(describe) else lambda row: f"row {row} of {describe}"
    texts = [gold_texts(gold, f"the answer in {name(row)}") for row, gold in enumerate(golds)]
    answers = [[final_answer(text) for text in alternatives] for alternatives in texts]
    distinct = list(dict.fromkeys(answer for alternatives in answers for answer in alternatives))
    passed = Path(constants.HF_HOME) / "es_trl" / "golds" / _digest(distinct)
    if passed.exists():
        return
    check_installed()
    outcomes = logging.tqdm(
        workers().ask([("equals_itself", (answer,)) for answer in distinct], SECONDS_PER_ANSWER),
        total=len(distinct),
        desc="Reading gold answers",
        mininterval=1.0,
        disable=len(distinct) < _MANY or os.environ.get("LOCAL_RANK", "0") != "0",
    )
    wrong = {answer for answer, outcome in zip(distinct, outcomes, strict=True) if outcome is not True}
    rows = [row for row, alternatives in enumerate(answers) if wrong.intersection(alternatives)]
    if rows:
        named = ", ".join(map(name, rows[:5])) + (", ..." if len(rows) > 5 else "")
        first = next(text for text in texts[rows[0]] if final_answer(text) in wrong)
        raise ValueError(
            f"math-verify cannot judge {len(rows)} of {len(texts)} gold answers, in {named}; the first is "
            f"{shortened(first)}: mend or drop these rows, or set answer_column to the column with the right answers"
        )
    try:
        passed.parent.mkdir(parents=True, exist_ok=True)
        passed.touch()
    except OSError as error:
        logger.warning(f"{passed} cannot be written ({error}): the gold answers are judged again in the next run")


def check_installed() -> None:
    """Raise unless math-verify is installed."""
    try:
        version("math-verify")
    except ImportError:
        raise ValueError(
            "the math reward needs math-verify, which is not installed: pip install 'es-trl[math]'"
        ) from None


def shortened(text: str) -> str:
    """The end of a text, where its answer is, for messages."""
    return repr(text if len(text) <= 80 else "..." + text[-80:])


def _number_text(value: Any, where: str) -> str:
    if not _is_finite_number(value):
        raise ValueError(
            f"{where} must be text, a finite number, or a list of these, got {type(value).__name__} "
            f"{repr(value)[:80]}: mend or drop the row"
        )
    try:
        if not isinstance(value, numbers.Rational):
            return digits(Decimal(str(value)))
        if value.denominator == 1:
            return str(int(value))
        sign = "-" if value < 0 else ""
        return f"{sign}\\frac{{{abs(value.numerator)}}}{{{value.denominator}}}"
    except ValueError:
        raise ValueError(f"{where} is a number of more than 4300 digits: give it as text, or drop the row") from None


def _is_finite_number(value: Any) -> bool:
    if isinstance(value, Decimal):
        return value.is_finite()
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return False
    return isinstance(value, numbers.Rational) or math.isfinite(value)


def _digest(texts: list[str]) -> str:
    """A name for golds and for all that decides about them."""
    digest = hashlib.sha256()
    for package in ("math-verify", "latex2sympy2-extended", "sympy"):
        digest.update(f"{package} {version(package)}\n".encode())
    for file in _JUDGE_FILES:
        digest.update(Path(__file__).with_name(file).read_bytes())
    for text in texts:
        digest.update(f"{len(text)} {text}\n".encode("utf-8", "surrogatepass"))
    return digest.hexdigest()
