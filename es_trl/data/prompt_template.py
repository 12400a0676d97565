"""Prompts from a template with the columns of a row."""

import re
from typing import Any

from ..common.shown import shown
from ..rewards.notation import number_text
from .rows import Rows, is_unicode


_FIELD = re.compile(r"\{\{\{([^{}\n]+)\}\}\}|\{\{([^{}\n]+)\}\}|\{([^{}\n]+)\}")
_ADVICE = "correct the name in prompt_template, or double its braces if you mean the text itself"


def fill_template(template: str, rows: Rows) -> list[str]:
    """
    Return one text per row: the template with each `{column}` replaced by the row's value.

    Args:
        template (`str`):
            Text with `{column}` for a column and `{a.b}` for the field `b` of a column `a`, each of which holds text or
            numbers. `{{a}}` stands for `{a}`, and `{{{a}}}` for the value of `a` in braces. Other braces stay.
        rows (`Rows`):
            The rows.

    Raises:
        ValueError: for a template without columns, a column that does not exist, or a row without a value.
    """
    names = template_columns(template, rows)
    texts = {name: _texts(rows, name, rows.column(name, _ADVICE)) for name in names}
    prompts = []
    for place in range(len(rows.numbers)):

        def value(match: re.Match[str], place: int = place) -> str:
            inner, literal, name = match.groups()
            if literal is not None:
                return f"{{{literal}}}"
            if (inner or name) not in texts:
                return match[0]
            return f"{{{texts[inner][place]}}}" if inner is not None else texts[name][place]

        prompts.append(_FIELD.sub(value, template))
    return prompts


def template_columns(template: str, rows: Rows) -> list[str]:
    """Return the columns that a template names, each once; raises as [`fill_template`]."""
    names: list[str] = []
    for match in _FIELD.finditer(template):
        name = match[1] or match[3]
        if name is None or name in names:
            continue
        if rows.find(name) is not None:
            names.append(name)
        elif all(map(str.isidentifier, name.split("."))):
            rows.column(name, _ADVICE)
        elif (plain := re.split(r"[!:\[]", name)[0].strip()) and rows.find(plain) is not None:
            raise ValueError(f"`prompt_template` must name a column alone in braces, got {{{name}}}: write {{{plain}}}")
    if not names:
        known = next((name for name in rows.names if name.isidentifier()), "question")
        raise ValueError(
            f"`prompt_template` must name a column of {rows.name} in braces, got {shown(template)}: set for example "
            f'"{{{known}}}"'
        )
    return names


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
