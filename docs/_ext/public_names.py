"""The reference of the public names: autodoc on their docstrings, and a check that nothing is left out."""

import inspect
import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

from hf_docstrings import documented
from hf_rst import as_rst
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging
from trl import GRPOConfig

import es_trl


logger = logging.getLogger(__name__)


def members_of(kind: type) -> Iterator[tuple[str, Any]]:
    """Yield the public methods and properties that a class of this package has, inherited ones of it included."""
    own = [base for base in kind.__mro__ if base.__module__.startswith("es_trl.")]
    for name in dict.fromkeys(name for base in own for name in vars(base) if not name.startswith("_")):
        member = inspect.getattr_static(kind, name)
        if isinstance(member, (property, classmethod, staticmethod)) or inspect.isfunction(member):
            yield name, getattr(kind, name)


def faults_of(name: str, thing: Any) -> Iterator[str]:
    """Yield what the docstrings of a public name leave out."""
    if not thing.__doc__:
        yield f"{name} has no docstring"
        return
    if missing := _parameters(thing) - _known(thing):
        yield f"the docstring of {name} leaves out {', '.join(sorted(missing))}"
    if not inspect.isclass(thing):
        return
    members = dict(members_of(thing))
    # a parameter means the same in each method of a class and of its bases
    own = [base for base in thing.__mro__ if base.__module__.startswith("es_trl.")]
    methods = [value for base in own for value in vars(base).values() if inspect.isfunction(value)]
    known = set().union(*map(_known, (*own, *methods)))
    for member, value in members.items():
        if not inspect.getdoc(value):
            yield f"{name}.{member} has no docstring"
        elif inspect.isfunction(value) and not _is_of_a_library(thing, member):
            if missing := _parameters(value) - {"self"} - known - set(re.findall(r"\w+", inspect.getdoc(value))):
                yield f"the docstring of {name}.{member} leaves out {', '.join(sorted(missing))}"


def _is_of_a_library(kind: type, member: str) -> bool:
    """Return whether a method overrides one of a library, which documents its parameters."""
    return any(member in vars(base) for base in kind.__mro__ if not base.__module__.startswith("es_trl."))


def _known(thing: Any) -> set[str]:
    """Return the parameters that a docstring documents; a short one of a function names them in its sentence."""
    named = set() if inspect.isclass(thing) else set(re.findall(r"`(\w+)`", inspect.getdoc(thing) or ""))
    return named | {name.lstrip("*") for name in documented(thing)}


def _parameters(thing: Any) -> set[str]:
    """Return the parameters of a class or a function; a configuration has its own fields alone."""
    if is_dataclass(thing) and issubclass(thing, GRPOConfig):
        return {each.name for each in fields(thing)} - {each.name for each in fields(GRPOConfig)}
    return set(inspect.signature(thing).parameters)


def convert(app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Put reStructuredText in the place of the lines of a docstring."""
    lines[:] = as_rst(lines, name if what == "class" else name.rpartition(".")[0])


def signature(
    app: Sphinx, what: str, name: str, thing: Any, options: Any, arguments: str | None, returns: str | None
) -> tuple[str, str] | None:
    """Return a short signature for a configuration, whose fields are on the page of the recipe keys."""
    return ("(**fields)", "") if inspect.isclass(thing) and issubclass(thing, GRPOConfig) else None


def skip(app: Sphinx, what: str, name: str, member: Any, skipped: bool, options: Any) -> bool | None:
    """Leave out what a library defines, and an override that says nothing of its own: its base documents it."""
    function = member.fget if isinstance(member, property) else member
    if not inspect.isfunction(function):
        return None
    return True if not function.__doc__ or not function.__module__.startswith("es_trl.") else None


def check_names(app: Sphinx, env: BuildEnvironment) -> None:
    """Warn of each public name that no page documents or that its docstrings leave incomplete."""
    on_pages = {name for name, _, _, _, _, _ in env.get_domain("py").get_objects()}
    for name in es_trl.__all__:
        if f"es_trl.{name}" not in on_pages:
            logger.warning("no page documents es_trl.%s", name)
        for fault in faults_of(f"es_trl.{name}", getattr(es_trl, name)):
            logger.warning(fault)


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("autodoc-process-docstring", convert)
    app.connect("autodoc-process-signature", signature)
    app.connect("autodoc-skip-member", skip)
    app.connect("env-check-consistency", check_names)
    return {"parallel_read_safe": True}
