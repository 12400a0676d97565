"""Checks of counts, and of the sizes of a rollout that must divide each other."""

import math
import re

from trl import GRPOConfig

from ..control.values import check_count, is_number


COUNTS = ("num_generations", "per_device_train_batch_size", "gradient_accumulation_steps", "num_iterations")
OPTIONAL = ("steps_per_generation", "generation_batch_size", "max_completion_length", "goal_k")
FROM_ZERO = ("dynamic_sampling_tries", "early_generations", "overlong_cache")
EARLY_PASS_RATES = [0.05, 0.8]  # MAI-Thinking-1's


def check_counts(args: GRPOConfig) -> None:
    """Raise unless all fields that are counts are whole numbers in their range, before anything divides by them."""
    for name in (*COUNTS, *OPTIONAL, *FROM_ZERO):
        value = getattr(args, name)
        if name not in OPTIONAL or value is not None:
            check_count(name, value, 0 if name in FROM_ZERO else 1)


def check_groups(args: GRPOConfig, both_sizes: bool) -> None:
    """
    Explain why TRL refuses the sizes of a rollout.

    Args:
        args (`GRPOConfig`):
            A configuration whose TRL `__post_init__` has raised.
        both_sizes (`bool`):
            Whether the user gave both `generation_batch_size` and `steps_per_generation`.

    Raises:
        ValueError: if a size is the cause. The message says what to set.
    """
    if args.num_generations < 2:
        raise ValueError(
            f"`num_generations` must be at least 2, because an advantage compares completions of one prompt, "
            f"got {args.num_generations}: set it to 2 or more, for example 8"
        )
    completions, micro_batch = args.generation_batch_size, args.per_device_train_batch_size * args.world_size
    if both_sizes:
        raise ValueError(
            "`generation_batch_size` and `steps_per_generation` are both set, but each follows from the other: leave "
            "one of them out"
        ) from None
    if completions is not None and completions % micro_batch != 0:
        unit = math.lcm(micro_batch, args.num_generations)
        raise ValueError(
            f"`generation_batch_size` must be a multiple of {micro_batch} (per_device_train_batch_size x processes) "
            f"and of num_generations ({args.num_generations}), got {completions}: set "
            f"{math.ceil(completions / unit) * unit}"
        ) from None
    if completions is not None and completions % args.num_generations != 0:
        raise ValueError(
            f"`num_generations` must divide the {completions} completions of a rollout (per_device_train_batch_size x "
            f"processes x steps_per_generation), got {args.num_generations}: set one of the three so that "
            f"{args.num_generations} divides their product"
        ) from None
    if args.eval_strategy != "no":
        _check_evaluation_groups(args)


def _check_evaluation_groups(args: GRPOConfig) -> None:
    """Raise unless a batch of an evaluation holds all completions of each of its prompts."""
    rows, group = args.per_device_eval_batch_size * args.world_size, args.num_generations_eval or args.num_generations
    if rows % group != 0:
        raise ValueError(
            f"`per_device_eval_batch_size` times the processes must be a multiple of {group} (completions per "
            f"prompt), got {rows}: set it to {group}, or num_generations_eval to a divisor of {rows}"
        ) from None


def check_pass_rates(args: GRPOConfig) -> None:
    """
    Raise unless `early_pass_rates` is a range from 0 to 1, which some number of right early completions is in.

    Without early completions, it must be the default.
    """
    rates, early = args.early_pass_rates, args.early_generations
    is_pair = isinstance(rates, list | tuple) and len(rates) == 2 and all(map(is_number, rates))
    if not is_pair or not 0.0 <= rates[0] <= rates[1] <= 1.0:
        raise ValueError(
            f"`early_pass_rates` must be two numbers from 0 to 1, the lower one first, got {rates!r}: set for example "
            f"{EARLY_PASS_RATES}"
        )
    if not early and list(rates) != EARLY_PASS_RATES:
        raise ValueError(
            f"`early_generations` must be at least 1 with early_pass_rates {rates!r}, got {early}: set for example "
            f"early_generations: 16, or leave early_pass_rates at {EARLY_PASS_RATES}"
        )
    if early and not any(rates[0] <= right / early <= rates[1] for right in range(early + 1)):
        raise ValueError(
            f"`early_pass_rates` must hold a pass rate that {early} completions can have, got {rates!r}: set a wider "
            "range, or more early_generations"
        )


def check_pass_at_k(args: GRPOConfig) -> None:
    """
    Raise unless an evaluation can estimate pass@k for each k of `eval_pass_at_k`.

    Args:
        args (`ESGRPOConfig`):
            A configuration whose TRL `__post_init__` has run.

    Raises:
        ValueError: for values that are not whole numbers from 1 to the completions per prompt of an evaluation, or
            a `metric_for_best_model` with another k.
    """
    ks = args.eval_pass_at_k
    best = re.search(r"(?:^|_)pass@(\w+)$", args.metric_for_best_model or "")
    if ks is None and best is None:
        return
    if ks is not None and not (isinstance(ks, list) and ks and all(type(k) is int and k >= 1 for k in ks)):
        raise ValueError(f"`eval_pass_at_k` must be a list of whole numbers >= 1, got {ks!r}: set for example [1, 8]")
    if best is not None and best[1] not in map(str, ks or ()):
        raise ValueError(
            f"`metric_for_best_model` is {args.metric_for_best_model} but `eval_pass_at_k` is {ks}, so evaluations do "
            f"not report it: add {best[1]} to eval_pass_at_k"
        )
    samples = args.num_generations_eval or args.num_generations
    if max(ks) > samples:
        raise ValueError(
            f"`eval_pass_at_k` must be at most the {samples} completions per prompt of an evaluation, got {max(ks)}: "
            f"set num_generations_eval to {max(ks)}, or a smaller k"
        )
    _check_evaluation_groups(args)
