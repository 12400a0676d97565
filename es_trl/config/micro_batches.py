"""What the configuration says about micro-batches, and the contradictions in it."""

from collections.abc import Iterable
from typing import Any


def coupling(args: Any, actuators: Iterable[Any]) -> str | None:
    """
    Return what makes the loss of a completion depend on the others of TRL's micro-batch; `None` if nothing does.

    Args:
        args (`ESGRPOConfig`):
            The configuration.
        actuators (iterable of `Actuator`):
            The actuators of the run.

    Returns:
        `str` or `None`: the field or part, as text for people.
    """
    checks = {
        "`loss_type: bnpo`": args.loss_type == "bnpo",
        "`top_entropy_quantile` below 1": args.top_entropy_quantile < 1.0,
        "`entropy_coef`": args.entropy_coef != 0.0,
        "`use_adaptive_entropy`": args.use_adaptive_entropy,
        "an actuator that compares the completions of a micro-batch": any(
            getattr(each, "couples", False) for each in actuators
        ),
    }
    return next((reason for reason, holds in checks.items() if holds), None)


def check_micro_batches(args: Any) -> None:
    """Raise `ValueError` unless the fields about micro-batches of the configuration `args` fit together."""
    actuators = args.entropy_actuator if isinstance(args.entropy_actuator, list) else [args.entropy_actuator]
    reasons = {
        "max_tokens_per_micro_batch": coupling(args, actuators),
        "shared_prefixes": "`gradient_checkpointing: true`" if args.gradient_checkpointing else None,
    }
    for name, reason in reasons.items():
        if args.micro_batches == "completions":
            reason = "`micro_batches: completions`"
        if getattr(args, name) and reason is not None:
            refuse(name, reason)


def refuse(name: str, reason: str) -> None:
    """Raise for the field `name`, which cannot work with `reason`."""
    raise ValueError(f"`{name}` is set but cannot work with {reason}: leave it out, or change the other")
