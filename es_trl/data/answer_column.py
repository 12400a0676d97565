"""Answers of a dataset as text. A row with a wrong answer is named."""

from typing import Any

from ..common.shown import shown
from ..rewards.answers import final_answer
from ..rewards.notation import MAX_DIGITS, number_text
from .rows import Rows, is_unicode, leaf_names


def read_answers(rows: Rows, column: str) -> list[str] | list[list[str]]:
    """
    Return the answers of a column of text, finite numbers, or non-empty lists of these, which are alternatives.

    Text stays as it is, and a number is written with all its digits. Where a row has alternatives, every row is a list.
    """
    values = rows.column(column)
    answers = [_texts(value) for value in values]
    rows.refuse({place: _fault(values[place], column) for place, texts in enumerate(answers) if not texts})
    return answers if any(isinstance(value, list) for value in values) else [text for (text,) in answers]


def _texts(value: Any) -> list[str]:
    """Return the texts of an answer: one, or several for a list; an empty list where a part is not an answer."""
    try:
        parts = value if isinstance(value, list) else [value]
        texts = [part if isinstance(part, str) else number_text(part) for part in parts]
    except ValueError:  # a number of too many digits
        return []
    return texts if all(text and is_unicode(text) and final_answer(text).strip() for text in texts) else []


def _fault(value: Any, column: str) -> str:
    if value is None:
        return f"has no {column!r}: fill it in, or drop the row"
    if isinstance(value, str) and is_unicode(value):
        return f"has an empty {column!r}: drop the row"
    if isinstance(value, dict):
        fields = ", ".join(leaf_names(value, column))
        return f"has a mapping in {column!r}, which must hold the answer: set answer_column to a field of it ({fields})"
    must = f"which must hold text, a finite number of at most {MAX_DIGITS} digits, or a list of these"
    return f"has {shown(value)} in {column!r}, {must}: correct or drop the row"
