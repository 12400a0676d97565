"""Docstrings in Hugging Face's format as reStructuredText, which autodoc reads."""

import re
import textwrap
from collections.abc import Iterator

import es_trl


SECTIONS = ("Args", "Parameters", "Returns", "Raises", "Example")
PUBLIC = {name: f"es_trl.{name}" for name in es_trl.__all__}


def sections_of(lines: list[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield the description, under an empty name, and each section with its lines, dedented."""
    name, body = "", []
    for line in [*lines, "End:"]:
        if line.removesuffix(":") in (*SECTIONS, "End") and line.endswith(":"):
            yield name, textwrap.dedent("\n".join(body)).strip("\n").split("\n")
            name, body = line.removesuffix(":"), []
        else:
            body.append(line)


def entries_of(lines: list[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield the heads of a section, such as "kp (`float`):" without its colon, each with the dedented text below."""
    head, body = None, []
    for line in [*lines, "end"]:
        if line and not line[0].isspace():
            if head is not None:
                yield head.removesuffix(":"), textwrap.dedent("\n".join(body)).strip().split("\n")
            head, body = line, []
        else:
            body.append(line)


def parameters_of(head: str) -> Iterator[tuple[str, str]]:
    """Yield each name of a head with its type, such as ("kp", "`float`"); a name may have none."""
    depth, parts = 0, [""]
    for letter in head:
        depth += (letter in "([") - (letter in ")]")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    for part in parts:
        name, _, kind = part.strip().partition(" ")
        yield name, kind.strip().removeprefix("(").removesuffix(")")


def documented(lines: list[str]) -> dict[str, tuple[str, str]]:
    """Return type and text, in Markdown, of every parameter that a docstring documents."""
    return {
        name: (kind, " ".join(" ".join(text).split()))
        for section, body in sections_of(lines)
        if section in ("Args", "Parameters")
        for head, text in entries_of(body)
        for name, kind in parameters_of(head)
    }


def as_rst(lines: list[str], owner: str = "") -> list[str]:
    """
    Return a docstring as reStructuredText.

    Args:
        lines (`list[str]`):
            Lines of the docstring.
        owner (`str`):
            Full name of the class whose members a link such as [`begin`] names.
    """
    found: list[str] = []
    for section, body in sections_of(lines):
        if section in ("Args", "Parameters"):
            found += ["", ".. rubric:: Parameters", ""]
            for head, text in entries_of(body):
                found += [_term(head, owner), *textwrap.indent(_text(text, owner), "    ").split("\n"), ""]
        else:
            found += ["", f".. rubric:: {section}", ""] if section else []
            found += _text(body, owner).split("\n")
    return [*found, ""]


def _term(head: str, owner: str) -> str:
    """Return the term of a definition list: the names, and behind a colon their types."""
    pairs = list(parameters_of(head))
    names = ", ".join(f"``{name}``" for name, _ in pairs)
    kinds = list(dict.fromkeys(inline(kind, owner) for _, kind in pairs if kind))
    return f"{names} : {'; '.join(kinds)}" if kinds else names


def _text(lines: list[str], owner: str) -> str:
    """Return paragraphs, lists and code of Markdown; an indented block behind an empty line is code."""
    found, fenced, in_code = [], False, False
    for index, line in enumerate(lines):
        if line.strip().startswith("```"):
            language = line.strip().removeprefix("```") or "text"
            found += [] if fenced else ["", f".. code-block:: {language}", ""]
            fenced = not fenced
            continue
        if not fenced and line.startswith("    ") and not in_code and index and not lines[index - 1].strip():
            found += [".. code-block:: text", ""]
            in_code = True
        elif line.strip() and not line.startswith("    "):
            in_code = False
        found.append(f"    {line}" if fenced else line if in_code else inline(line, owner))
    return "\n".join(found)


def inline(text: str, owner: str = "") -> str:
    """Return a line of Markdown with its code and links as reStructuredText."""
    text = re.sub(r"\[`~?([\w.]+)`\]", lambda match: _link(match[1], owner), text)
    text = re.sub(r"(?<![`:>])`([^`]+)`(?!`)", r"``\1``", text)
    text = re.sub(r"(``[^`]+``|:py:obj:`[^`]+`)|\|", lambda match: match[1] or r"\|", text)
    return re.sub(r"(``[^`]+``|:py:obj:`[^`]+`)(?=\w)", r"\1\\ ", text)


def _link(name: str, owner: str) -> str:
    """Return a link to a public name or a member of the owner, and code for a name that the site does not document."""
    first, _, member = name.partition(".")
    if first in PUBLIC:
        return f":py:obj:`{name} <{PUBLIC[first]}{'.' + member if member else ''}>`"
    kind = getattr(es_trl, owner.removeprefix("es_trl."), None)
    for base in getattr(kind, "__mro__", ()):
        # an override that says nothing of its own is documented by its base
        if base.__name__ in PUBLIC and getattr(vars(base).get(name), "__doc__", None):
            return f":py:obj:`{name} <{PUBLIC[base.__name__]}.{name}>`"
    return f"``{name}``"
