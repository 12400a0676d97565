"""The target and the anneal ratio from the k of pass@k: a rule of thumb.

The paper (section 4.2, Fig. 5c and 5i) finds that for a larger k the best constant is higher and the best anneal is
shorter. It advises 0.3 to 0.5 nats and 10 %. The two ends below, and the curve between them, are ours: the constants
are the ends of the advised range, and k = 8 in the middle gives the ratio of 10 %.
"""

import math
from typing import Any

from ..common.shown import shown
from ..control.shapes import StableAnnealSchedule
from .methods import METHODS, STABLE_ANNEAL


SMALLEST_K, LARGEST_K = 1, 64  # at and beyond the largest k the values stay
TARGETS = (0.3, 0.5)  # nats, for the smallest and the largest k
RATIOS = (0.2, 0.05)  # shares of the run, for the smallest and the largest k
CHOSEN = ("target", "ratio")


def rule_of_thumb(k: int) -> dict[str, float]:
    """
    Return the `target` (nats) and the `ratio` (share of the run) of a `stable_anneal` schedule for pass@k.

    The target is linear in log2 k, and so is the logarithm of the ratio, both from k = 1 to k = 64.

    Args:
        k (`int`):
            The k of pass@k, at least 1.
    """
    share = min(math.log(k / SMALLEST_K) / math.log(LARGEST_K / SMALLEST_K), 1.0)
    target, ratio = TARGETS[0] * (1 - share) + TARGETS[1] * share, RATIOS[0] ** (1 - share) * RATIOS[1] ** share
    return {"target": round(target, 12), "ratio": round(ratio, 12)}


def apply_goal(args: Any) -> None:
    """
    Fill what the user has left open of the schedule from `goal_k`; a value that the user gave is kept.

    Args:
        args (`ESGRPOConfig`):
            The configuration, which is changed in place. Its method must not have been applied yet.

    Raises:
        ValueError: if nothing is left to choose.
    """
    is_known = args.method is None or (isinstance(args.method, str) and args.method in METHODS)
    if args.goal_k is None or not is_known:
        return  # `apply_method` refuses an unknown method
    given = args.entropy_schedule
    if args.names_all and isinstance(given, StableAnnealSchedule):
        return  # a copy of a configuration that has its schedule already
    own = STABLE_ANNEAL if args.method is None else METHODS[args.method].schedule
    if given is None and not args.is_left_to_method("entropy_schedule") and not args.names_all:
        raise _refusal(args, "`entropy_schedule` is none")
    if isinstance(given, str):
        given = {"kind": given}
    if given is not None and not isinstance(given, dict):
        raise _refusal(args, f"`entropy_schedule` is {shown(given)}")
    block = {name: value for name, value in (given or {}).items() if value is not None}
    if "kind" not in block:
        if own is None or own["kind"] != "stable_anneal":
            has = "no target" if own is None else f"a {own['kind']} target of its own"
            raise _refusal(args, f"method {args.method} has {has}")
        block = {"kind": "stable_anneal", **block}
    if block["kind"] != "stable_anneal":
        raise _refusal(args, f"`entropy_schedule` is of kind {block['kind']}")
    if all(name in block for name in CHOSEN):
        raise _refusal(args, "`entropy_schedule` has its `target` and `ratio`")
    if block.get("relative") and "target" not in block:
        raise ValueError(
            "`goal_k` chooses a target in nats, but `entropy_schedule` is relative: give it a `target`, or leave out "
            "`relative`"
        )
    args.entropy_schedule = {"end": STABLE_ANNEAL["end"], **rule_of_thumb(args.goal_k), **block}


def describe_goal(args: Any) -> str:
    """Return the line of a plan that says what `goal_k` chose and how far to trust it, or `""` without a choice."""
    schedule = args.entropy_schedule
    if args.goal_k is None or not isinstance(schedule, StableAnnealSchedule):
        return ""
    rule, units = rule_of_thumb(args.goal_k), {"target": " nats", "ratio": ""}
    chosen = [f"{name} {rule[name]:.3g}{units[name]}" for name in CHOSEN if getattr(schedule, name) == rule[name]]
    if not chosen:
        return ""
    return (
        f"goal_k {args.goal_k}: {' and '.join(chosen)}: our rule of thumb, in the direction that one paper found\n"
        "(section 4.2) on 7B models and mathematics; `python -m es_trl sweep` measures it on your model"
    )


def _refusal(args: Any, reason: str) -> ValueError:
    return ValueError(
        f"`goal_k` {args.goal_k} has nothing to choose, because {reason}: leave out `goal_k`, or leave the `target` or "
        "the `ratio` of a stable_anneal schedule open"
    )
