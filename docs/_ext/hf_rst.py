"""Docstrings in Hugging Face's format as reStructuredText, which autodoc reads."""

import re
import textwrap

from hf_docstrings import entries_of, parameters_of, sections_of

import es_trl


# names that a link may name; those of the second line are not imported from es_trl itself
PUBLIC = {name: f"es_trl.{name}" for name in es_trl.__all__}
PUBLIC |= {
    "Schedule": "es_trl.control.schedules.Schedule",
    "BoundedController": "es_trl.control.bounded.BoundedController",
    "MicroBatch": "es_trl.actuators.batch.MicroBatch",
    "Scores": "es_trl.actuators.batch.Scores",
    "Kept": "es_trl.control.base.Kept",
    "Tick": "es_trl.control.tick.Tick",
    "RolloutRecord": "es_trl.tracking.history.RolloutRecord",
    "Recipe": "es_trl.recipe.Recipe",
}
# a link such as [`~trl.GRPOConfig`], code in double backticks, code in single ones, a bar
_MARKS = re.compile(r"\[`(~?[\w.]+)`\]|``(.+?)``|`([^`]+)`|(\|)", re.DOTALL)

_LINKED = re.compile(rf"(?<!\[)`({'|'.join(PUBLIC)})`")


def as_rst(lines: list[str], owner: str = "") -> list[str]:
    """Return a docstring as reStructuredText; `owner` is the full name of the class whose members [`begin`] names."""
    found: list[str] = []
    for section, body in sections_of(lines):
        found += ["", f".. rubric:: {section.replace('Args', 'Parameters')}", ""] if section else []
        if section in ("Args", "Parameters"):
            for head, text in entries_of(body):
                found += [_term(head, owner), *textwrap.indent(_text(text, owner), "    ").split("\n"), ""]
        else:
            lines = [re.sub(r"^(\w+Error|SystemExit):", r"`\1`:", line) for line in body]
            found += _text(lines if section == "Raises" else body, owner).split("\n")
    return [*found, ""]


def _term(head: str, owner: str) -> str:
    """Return the term of a definition list: each name with its type."""
    pairs = [(name, _LINKED.sub(r"[`\1`]", kind)) for name, kind in parameters_of(head)]
    if len({kind for _, kind in pairs}) == 1:
        return f"{', '.join(f'``{name}``' for name, _ in pairs)} : {inline(pairs[0][1], owner)}".removesuffix(" : ")
    return ", ".join(f"``{name}`` ({inline(kind, owner)})" if kind else f"``{name}``" for name, kind in pairs)


def _text(lines: list[str], owner: str) -> str:
    """Return paragraphs, lists and code of Markdown; an indented block behind an empty line is code."""
    found: list[str] = []
    # fenced code, code that is indented, and the text between
    for part in re.split(r"(^```.*?^```$|(?<=\n\n)(?: {4}.*\n?|\n(?= {4}))+)", "\n".join(lines), flags=re.M | re.S):
        if part.startswith("```"):
            language, _, code = part.removesuffix("```").removeprefix("```").partition("\n")
            found.append(f"\n.. code-block:: {language or 'text'}\n\n{textwrap.indent(code, '    ')}\n")
        elif part.startswith("    "):
            found.append(f".. code-block:: text\n\n{textwrap.indent(textwrap.dedent(part), '    ')}\n")
        else:
            found.append(inline(part, owner))
    return "".join(found)


def inline(text: str, owner: str = "") -> str:
    """Return text of Markdown with its code and links as reStructuredText."""

    def mark(match: re.Match[str]) -> str:
        link, double, single, _ = match.groups()
        done = link_to(link, owner) if link else f"``{double or single}``" if double or single else r"\|"
        return done + (r"\ " if text[match.end() : match.end() + 1].isalnum() else "")

    return _MARKS.sub(mark, text)


def link_to(name: str, owner: str = "") -> str:
    """Return a link to a public name or a member of the owner, and code for a name that the site does not document."""
    shown = name.removeprefix("~").rpartition(".")[2] if name.startswith("~") else name
    first, _, member = name.removeprefix("~").removeprefix("es_trl.").partition(".")
    if first in PUBLIC:
        return f":py:obj:`{shown} <{PUBLIC[first]}{'.' + member if member else ''}>`"
    kind = getattr(es_trl, owner.removeprefix("es_trl."), None)
    for base in getattr(kind, "__mro__", ()):
        # an override that says nothing of its own is documented by its base
        if base.__name__ in PUBLIC and getattr(vars(base).get(name), "__doc__", None):
            return f":py:obj:`{name} <{PUBLIC[base.__name__]}.{name}>`"
    return f"``{shown}``"
