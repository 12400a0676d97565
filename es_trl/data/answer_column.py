"""Answers of a data set as text, from whatever its column holds, or a refusal that names the row."""

from decimal import Decimal, InvalidOperation
from typing import Any

from ..rewards.math import final_answer
from .exact_json import ExactFloat
from .rows import Rows, is_unicode, leaf_names, shown


MAX_EXPONENT = 400  # of ten: a number's digits are written out


def read_answers(rows: Rows, column: str) -> list[str] | list[list[str]]:
    """
    The answers of a column.

    Args:
        rows (`Rows`):
            The rows.
        column (`str`):
            Text, integers, finite decimal numbers, or non-empty lists of these, which are alternatives.

    Returns:
        `list[str]`: text as it is, numbers with all their digits and without an exponent. Where some row has
        alternatives, `list[list[str]]` with those of every row.

    Raises:
        ValueError: for rows that hold no answer.
    """
    values = rows.column(column)
    answers = [_alternatives(value) for value in values]
    faults = {place: _fault(values[place], column) for place, texts in enumerate(answers) if texts is None}
    rows.refuse(faults)
    if any(isinstance(value, list) for value in values):
        return answers
    return [text for (text,) in answers]


def _alternatives(value: Any) -> list[str] | None:
    """The texts of an answer, one unless it lists several; `None` where it is no answer."""
    texts = [_text(part) for part in (value if isinstance(value, list) else [value])]
    usable = texts and all(text is not None and is_unicode(text) and final_answer(text).strip() for text in texts)
    return texts if usable else None


def _text(value: Any) -> str | None:
    """Text as it is and a number in digits, which math-verify reads: it takes 1e-7 for e - 7; `None` for the rest."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    if isinstance(value, int):
        return str(value)
    try:
        number = Decimal(value.text if isinstance(value, ExactFloat) else str(value))
    except InvalidOperation:  # an exponent beyond those of Decimal
        return None
    return format(number, "f") if number.is_finite() and abs(number.adjusted()) <= MAX_EXPONENT else None


def _fault(value: Any, column: str) -> str:
    if value is None:
        return f"has no {column!r}: fill it in, or drop the row"
    if isinstance(value, str) and is_unicode(value):
        return f"has an empty {column!r}: drop the row"
    if isinstance(value, dict):
        fields = ", ".join(leaf_names(value, column)) or "none"
        return f"has a mapping in {column!r}, which must hold the answer: set answer_column to a field of it ({fields})"
    got = value.text if isinstance(value, ExactFloat) else shown(value)
    return (
        f"has {got} in {column!r}, which must hold text, a finite number with an exponent of at most {MAX_EXPONENT}, "
        "or a list of these that are equally right: correct or drop the row"
    )
