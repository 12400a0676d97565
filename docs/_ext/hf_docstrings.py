"""The sections of docstrings in Hugging Face's format, and the parameters that they document."""

import inspect
import textwrap
from collections.abc import Iterator
from typing import Any


SECTIONS = ("Args", "Parameters", "Returns", "Raises", "Example")


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
    head, body = "", []
    for line in [*lines, "end"]:
        if line and not line[0].isspace():
            if head:
                yield head.removesuffix(":"), textwrap.dedent("\n".join(body)).strip().split("\n")
            head, body = line, []
        else:
            body.append(line)


def parameters_of(head: str) -> Iterator[tuple[str, str]]:
    """Yield each name of a head with its type, such as ("kp", "`float`"); a name may have none."""
    depth, parts = 0, [""]
    for letter in head:
        depth += (letter in "([{") - (letter in ")]}")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    for part in parts:
        name, _, kind = part.strip().partition(" ")
        yield name, kind.strip().removeprefix("(").removesuffix(")")


def documented(kind: Any) -> dict[str, tuple[str, str]]:
    """Return type and text, in Markdown, of every parameter that a function, or a class with its bases, documents."""
    things = reversed(kind.__mro__) if inspect.isclass(kind) else [kind]
    return {
        name: (hint, " ".join(" ".join(text).split()))
        for thing in things
        if thing.__doc__ and thing.__module__.startswith("es_trl")
        for section, body in sections_of(inspect.cleandoc(thing.__doc__).split("\n"))
        if section in ("Args", "Parameters")
        for head, text in entries_of(body)
        for name, hint in parameters_of(head)
    }
