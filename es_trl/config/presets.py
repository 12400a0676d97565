"""The merge of a method with the user's own values: the method fills in only what the user has not set."""

import textwrap
from typing import Any

from ..common.nearest import nearest
from .methods import METHODS, Method
from .parser import as_block, build_part, kind_of
from .registry import BLOCKS


def apply_method(args: Any) -> None:
    """
    Set the fields that the user has left to the method of a configuration.

    Args:
        args (`ESGRPOConfig`):
            The configuration, which is changed in place.

    Raises:
        ValueError: if the method is unknown, or if a value of the user contradicts it.
    """
    if args.method is None:
        return
    if not isinstance(args.method, str) or args.method not in METHODS:
        raise ValueError(
            f"`method` must be a known name, got {args.method!r}{nearest(str(args.method), METHODS)}: set "
            f"{', '.join(METHODS)} or none"
        )
    if args.names_all and all(isinstance(getattr(args, name), dict | str | None) for name in BLOCKS):
        raise ValueError(
            f"`method` {args.method} has no effect, because every field is named: name fewer fields, parse a recipe "
            "with RecipeParser instead of TrlParser, or change a copy.copy instead of calling dataclasses.replace"
        )
    method = METHODS[args.method]
    for name, own in method.values(args).items():
        if args.is_left_to_method(name):
            if own is None:
                raise ValueError(
                    f"`max_completion_length` must be a number for method {args.method}, because `{name}` is computed "
                    f"from it, got None: set it, or set `{name}`"
                )
            setattr(args, name, own)
        elif name in method.needs and getattr(args, name) != own:
            raise ValueError(
                f"`{name}` must be {_text(own)} for method {args.method}, got {_text(getattr(args, name))}: leave it "
                "out, or set another method"
            )
    given = {name: getattr(args, name) for name in BLOCKS if not args.is_left_to_method(name)}
    schedule = _schedule(method, given)
    for name, own in method.blocks.items():
        if name == "entropy_schedule":
            setattr(args, name, schedule)
        elif schedule is None and not method.always:
            if given.get(name) is not None:
                raise ValueError(
                    f"`{name}` must be none, because method {args.method} has no target here, got {given[name]!r}: set "
                    f"`entropy_schedule`, or remove `{name}`"
                )
        else:
            setattr(args, name, _merged(name, given[name], args.method) if name in given else own)


def _schedule(method: Method, given: dict[str, Any]) -> Any:
    """Return the user's schedule, completed from the method's, or the method's if the user gives none."""
    own, schedule = method.schedule, given.get("entropy_schedule", method.schedule)
    if own is None or not isinstance(schedule, dict) or "kind" in schedule:
        return schedule  # a schedule with a kind is complete; adding to it could make it relative
    return {**own, **schedule}


def _merged(name: str, given: Any, method: str) -> Any:
    """Return the user's controller or actuator, completed with the arguments of the method's."""
    own = METHODS[method].blocks[name]
    block = {"kind": given} if isinstance(given, str) else given
    if isinstance(block, dict) and block.get("kind", own["kind"]) == own["kind"]:
        return {**own, **block}
    others = METHODS[method].controllers if name == "entropy_controller" else ()
    kind = block.get("kind") if isinstance(block, dict) else kind_of(name, block)
    if kind in (own["kind"], *others) or METHODS[method].replaceable:
        return block
    must = f"`{name}` must be of kind {own['kind']} for method {method}, got"
    if given is None:
        raise ValueError(f"{must} none: leave `{name}` out, or set another method")
    raise ValueError(
        f"{must} {given!r}: set that kind, leave the method out, or give --{name} none to replace a recipe's block by "
        "the method's"
    )


def describe_method(args: Any) -> str:
    """Describe the method of a configuration as text: the fields that it sets, and those that the user has changed."""
    method = METHODS[args.method]
    values = {name: own for name, own in method.values(args).items() if own is not None}
    kept = [f"{name} {_text(own)}" for name, own in values.items() if getattr(args, name) == own]
    changed = {name: (getattr(args, name), own) for name, own in values.items() if getattr(args, name) != own}
    for name, own in method.blocks.items():
        block = getattr(args, name)
        # Without a schedule the controller and the actuator are absent, too. The line of the schedule is enough.
        if own is not None and (block is not None or name == "entropy_schedule"):
            changed |= _departures(name, as_block(name, block), as_block(name, build_part(name, own)))
    lines = [f"method      {args.method}: {method.title}"]
    if kept:
        lines += textwrap.wrap(f"with {', '.join(kept)}", 100, initial_indent=" " * 12, subsequent_indent=" " * 17)
    for name, (value, own) in changed.items():
        lines.append(f"            {name} {_text(value)} (method {args.method}: {_text(own)})")
    return "\n".join(lines)


def _departures(name: str, block: Any, own: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return the values by which a block differs from the method's `own`, as pairs of the user's and the method's."""
    if not isinstance(block, dict) or block["kind"] != own["kind"]:
        return {name: (block, own["kind"])}
    return {f"{name}.{each}": (block[each], value) for each, value in own.items() if block[each] != value}


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return value["kind"]
    if isinstance(value, list):
        return f"[{', '.join(_text(part) for part in value)}]"
    if value is None or isinstance(value, bool):
        return "none" if value is None else str(value).lower()
    return f"{value:g}" if isinstance(value, int | float) else str(value)
