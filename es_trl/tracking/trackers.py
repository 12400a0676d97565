"""The numbers of a record as trackers get them, beside the metrics of TRL."""

import math
from dataclasses import fields
from statistics import fmean
from typing import Any

from .history import RolloutRecord


PREFIX = "es/"
# counted in every rollout, so that a tracker has the same keys in every run
EVENT_KINDS = ("hand_over", "alarm", "switch", "guard", "unmeasured", "push")


def tracked(record: RolloutRecord, is_closed: bool) -> dict[str, float]:
    """
    Return the numbers of a record by their names in trackers: `es/FIELD`, or `es/FIELD/KEY` for a mapping.

    Args:
        record (`RolloutRecord`):
            The record of a rollout that is measured.
        is_closed (`bool`):
            Whether to return what is known only when the rollout is closed, or what is known when it is measured.

    Returns:
        `dict[str, float]`: finite numbers. Fields that do not apply are left out. Events are counted by their kind, and
            of one number per update the mean is taken.
    """
    moment = "closed" if is_closed else "measured"
    known = [field for field in fields(record) if field.metadata["tracked"] == moment]
    return {name: value for field in known for name, value in _numbers(field.name, getattr(record, field.name)).items()}


def _numbers(name: str, value: Any) -> dict[str, float]:
    if name == "events":
        kinds = [event["kind"] for event in value or ()]
        value = {kind: kinds.count(kind) for kind in dict.fromkeys((*EVENT_KINDS, *kinds))}
    elif isinstance(value, list):  # one number per update
        known = [part for part in value if part is not None]
        value = fmean(known) if known else None
    parts = {f"{name}/{key}": part for key, part in value.items()} if isinstance(value, dict) else {name: value}
    return {
        f"{PREFIX}{key}": float(part)
        for key, part in parts.items()
        if part is not None and not isinstance(part, str) and math.isfinite(part)
    }
