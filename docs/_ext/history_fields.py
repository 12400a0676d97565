"""The directive `history-fields`: every field of the history, from the record that the trainer writes."""

from dataclasses import Field, fields
from typing import Any, get_args, get_origin, get_type_hints

from docutils import nodes
from field_texts import takes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from tables import anchored, inline, table

from es_trl.tracking.history import RolloutRecord
from es_trl.tracking.trackers import PREFIX


class HistoryFields(SphinxDirective):
    """A table of the fields, with their types, units and meanings, and their names in trackers."""

    def run(self) -> list[nodes.Node]:
        hints = get_type_hints(RolloutRecord)
        rows = [
            [
                anchored(self.env, field.name, "field"),
                inline(", ".join(word for word in (takes("", hints[field.name]), field.metadata["unit"]) if word)),
                inline(field.metadata["help"]),
                inline(in_trackers(field, hints[field.name])),
            ]
            for field in fields(RolloutRecord)
        ]
        return [table(("field", "type, unit", "meaning", "in trackers"), rows, (20, 18, 44, 18))]


def in_trackers(field: Field[Any], hint: Any) -> str:
    """Return the name of a field in trackers; a text has none."""
    kinds = {get_origin(kind) or kind for kind in get_args(hint) or (hint,)}
    if field.metadata["tracked"] == "" or str in kinds:
        return ""
    return f"`{PREFIX}{field.name}{'/...' if kinds & {dict, list} else ''}`"


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("history-fields", HistoryFields)
    return {"parallel_read_safe": True}
