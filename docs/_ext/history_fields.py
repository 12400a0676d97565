"""Tables of the fields of the history, from the record that the trainer writes.

- `history-fields` shows every field.
- `tracker-names` shows the names under which trackers get them.
"""

from dataclasses import Field, fields
from typing import Any, get_args, get_origin, get_type_hints

from docutils import nodes
from field_texts import takes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from tables import anchored, inline, table

from es_trl.tracking.history import RolloutRecord
from es_trl.tracking.trackers import PREFIX


MOMENTS = {"measured": "when the rollout is measured", "closed": "after its last backward pass"}


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


class TrackerNames(SphinxDirective):
    """A table of the names in trackers, with their units, their meanings, and when a run logs them."""

    def run(self) -> list[nodes.Node]:
        hints = get_type_hints(RolloutRecord)
        rows = [
            [inline(name), inline(each.metadata["unit"]), inline(each.metadata["help"]), inline(MOMENTS[moment])]
            for moment in MOMENTS
            for each in fields(RolloutRecord)
            if each.metadata["tracked"] == moment and (name := in_trackers(each, hints[each.name]))
        ]
        return [table(("in trackers", "unit", "meaning", "logged"), rows, (26, 12, 44, 18))]


def in_trackers(field: Field[Any], hint: Any) -> str:
    """Return the name of a field in trackers; a text has none."""
    kinds = {get_origin(kind) or kind for kind in get_args(hint) or (hint,)}
    if field.metadata["tracked"] == "" or str in kinds:
        return ""
    return f"`{PREFIX}{field.name}{'/...' if kinds & {dict, list} else ''}`"


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("history-fields", HistoryFields)
    app.add_directive("tracker-names", TrackerNames)
    return {"parallel_read_safe": True}
