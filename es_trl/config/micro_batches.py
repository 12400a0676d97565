"""What the configuration says about micro-batches, and the contradictions in it."""

from collections.abc import Iterable
from typing import Any


def coupling(args: Any, actuators: Iterable[Any] | None = None) -> str | None:
    """
    Return what makes the loss of a completion depend on the others of TRL's micro-batch; `None` if nothing does.

    Args:
        args (`ESGRPOConfig`):
            The configuration.
        actuators (iterable of `Actuator`, *optional*):
            The actuators of the run; by default those of the configuration.

    Returns:
        `str` or `None`: the field or part, as text for people.
    """
    if actuators is None:
        actuators = args.entropy_actuator if isinstance(args.entropy_actuator, list) else [args.entropy_actuator]
    checks = {
        "`loss_type: bnpo`": args.loss_type == "bnpo",
        "`top_entropy_quantile` below 1": args.top_entropy_quantile < 1.0,
        "`entropy_coef`": args.entropy_coef != 0.0,
        "`use_adaptive_entropy`": args.use_adaptive_entropy,
    }
    comparing = (each for each in actuators if getattr(each, "couples", False))
    checks |= {f"{type(each).__name__}, which compares the completions of a micro-batch": True for each in comparing}
    return next((reason for reason, holds in checks.items() if holds), None)


def own_path(args: Any) -> str | None:
    """Return which field of the configuration `args` asks for TRL's own micro-batches or needs them, if one does."""
    if args.micro_batches == "completions":
        return "`micro_batches: completions`"
    if args.torch_compile:
        return "`torch_compile: true`"
    if "lomo" in str(args.optim):
        return "`optim: lomo` and `adalomo`, which update in every backward pass"
    # its noise is scaled by the length of a row
    return None if args.neftune_noise_alpha is None else "`neftune_noise_alpha`"


def no_segments(args: Any) -> str | None:
    """Return which field of the configuration `args` rules out prompts that are computed once, if one does."""
    attention = (args.model_init_kwargs or {}).get("attn_implementation", "sdpa")
    if attention != "sdpa":
        return f"`attn_implementation: {attention}`, only with sdpa"
    is_off = str(args.pad_to_multiple_of).lower() in ("auto", "none", "null")  # TRL's words
    return None if is_off else "`pad_to_multiple_of`"


def check_micro_batches(args: Any) -> None:
    """Raise `ValueError` unless the fields about micro-batches of the configuration `args` fit together."""
    reasons = {
        "max_tokens_per_micro_batch": own_path(args) or coupling(args),
        "shared_prefixes": own_path(args) or no_segments(args),
    }
    for name, reason in reasons.items():
        if getattr(args, name) and reason is not None:
            refuse(name, reason)


def refuse(name: str, reason: str) -> None:
    """Raise for the field `name`, which cannot work with `reason`."""
    raise ValueError(f"`{name}` is set but cannot work with {reason}: leave it out, or change the other")
