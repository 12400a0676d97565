"""The directives `recipe-keys` and `part-kinds`: tables of what a recipe takes, from the code that reads it.

- `recipe-keys` with `:names:` shows the keys that it names, and with `:from:` the rest of a package's keys.
- `part-kinds BLOCK` shows each kind of a block with its arguments, and `part-kinds Stage` those of a stage.
"""

from collections.abc import Iterator
from dataclasses import Field, fields
from typing import Any, ClassVar, get_type_hints

from docutils import nodes
from docutils.parsers.rst import directives
from field_texts import default, takes, texts
from hf_rst import PUBLIC
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from tables import anchored, inline, name_link, table
from transformers import TrainingArguments
from trl import GRPOConfig, ModelConfig

import es_trl
from es_trl import ESGRPOConfig, Stage
from es_trl.config.registry import PARTS
from es_trl.recipe import RecipeParser


HEAD, WIDTHS = ("key", "takes", "default", "meaning"), (20, 18, 14, 48)
BASES = {"transformers": TrainingArguments, "trl": GRPOConfig, "model": ModelConfig}


def keys() -> dict[str, tuple[type, Field[Any]]]:
    """Return every key of a recipe with its class and its field; of two classes the first one counts, as in a run."""
    found: dict[str, tuple[type, Field[Any]]] = {}
    for kind in RecipeParser()._classes:
        for field in fields(kind):
            if field.init:
                found.setdefault(field.name, (kind, field))
    return found


def origin(name: str, kind: type) -> str:
    """Return which package a key comes from."""
    if issubclass(kind, ESGRPOConfig):
        bases = [(label, {each.name for each in fields(base)}) for label, base in BASES.items() if label != "model"]
        return next((label for label, names in bases if name in names), "control")
    return "model" if issubclass(kind, ModelConfig) else "data"


class RecipeKeys(SphinxDirective):
    """A table of keys; each key stands in the first table of a page that takes it."""

    option_spec: ClassVar[dict[str, Any]] = {"names": directives.unchanged, "from": directives.unchanged}

    def run(self) -> list[nodes.Node]:
        known = keys()
        shown: set[str] = self.env.current_document.setdefault("recipe_keys", set())
        names = self.options.get("names", "").split()
        if unknown := [name for name in names if name not in known]:
            raise self.error(f"a recipe has no key {', '.join(unknown)}")
        package = self.options.get("from", "")
        names += [name for name, (kind, _) in known.items() if origin(name, kind) == package and name not in shown]
        shown |= set(names)
        rows = [row(self, *known[name], prefix="key") for name in names]
        return [table(HEAD, rows, WIDTHS)]


class PartKinds(SphinxDirective):
    """Each kind of a block, with its class and its arguments."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        block = self.arguments[0]
        if block == "Stage":
            return [table(HEAD, [row(self, Stage, field, prefix="stage") for field in fields(Stage)], WIDTHS)]
        return [node for kind, part in PARTS[block].items() for node in self._section(block, kind, part)]

    def _section(self, block: str, kind: str, part: type) -> Iterator[nodes.Node]:
        title = nodes.title(kind, "", nodes.literal(kind, kind))
        section = nodes.section("", title, ids=[f"{block}-{kind}"], names=[f"{block}-{kind}"])
        name = part.__name__
        link = name_link(name, PUBLIC[name]) if getattr(es_trl, name, None) is part else nodes.literal(name, name)
        summary = " ".join((part.__doc__ or "").strip().split("\n\n")[0].split())
        section += nodes.paragraph("", "", link, nodes.Text(": "), *inline(summary))
        rows = [row(self, part, field, prefix="") for field in fields(part)]
        section += table(("argument", *HEAD[1:]), rows, WIDTHS)
        yield section


def row(directive: SphinxDirective, kind: type, field: Field[Any], prefix: str) -> list[list[nodes.Node]]:
    """Return the row of a field."""
    name = anchored(directive.env, field.name, prefix) if prefix else [nodes.literal(field.name, field.name)]
    said = takes(field.name if prefix == "key" else "", get_type_hints(kind)[field.name])
    return [name, inline(said), inline(default(field)), inline(texts(kind, field))]


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("recipe-keys", RecipeKeys)
    app.add_directive("part-kinds", PartKinds)
    return {"parallel_read_safe": True}
