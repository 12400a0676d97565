"""Prompts from a template with the columns of a row."""

import re
from typing import Any

from ..common.shown import shown
from ..rewards.notation import number_text
from .rows import Rows, is_unicode


_FIELD = re.compile(r"\{\{([A-Za-z_][\w.-]*)\}\}|\{([A-Za-z_][\w.-]*)\}")


def fill_template(template: str, rows: Rows) -> list[str]:
    """
    Return one text per row: the template with each `{column}` replaced by the row's value.

    Args:
        template (`str`):
            Text with `{column}` for a column and `{a.b}` for the field `b` of a column `a`, each of which holds text or
            numbers. `{{a}}` stands for `{a}`; all other braces stay as they are.
        rows (`Rows`):
            The rows.

    Raises:
        ValueError: for a template without columns, a column that does not exist, or a row without a value.
    """
    names = dict.fromkeys(match[2] for match in _FIELD.finditer(template) if match[2])
    if not names:
        raise ValueError(
            f"`prompt_template` must name a column of {rows.name} in braces, got {shown(template)}: set for example "
            f'"{{{rows.names[0] if rows.names else "question"}}}"'
        )
    advice = "correct the name in prompt_template, or double its braces if you mean the text itself"
    texts = {name: _texts(rows, name, rows.column(name, advice)) for name in names}
    prompts = []
    for place in range(len(rows.numbers)):

        def value(match: re.Match[str], place: int = place) -> str:
            return f"{{{match[1]}}}" if match[1] else texts[match[2]][place]

        prompts.append(_FIELD.sub(value, template))
    return prompts


def _texts(rows: Rows, column: str, values: list[Any]) -> list[str]:
    """Return the values of a column as text."""
    texts = [_text(value) for value in values]
    rows.refuse({place: _fault(values[place], column) for place, text in enumerate(texts) if text is None})
    return [text for text in texts if text is not None]


def _text(value: Any) -> str | None:
    if isinstance(value, str):
        return value if value.strip() and is_unicode(value) else None
    try:
        return number_text(value)
    except ValueError:  # a number of too many digits
        return None


def _fault(value: Any, column: str) -> str:
    if value is None or isinstance(value, str) and not value.strip():
        return f"has no text in {column!r}, which `prompt_template` names: fill it in, or drop the row"
    return f"has {shown(value)} in {column!r}, which must hold text or a number for `prompt_template`: write it as text"
