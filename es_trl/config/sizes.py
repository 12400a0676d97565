"""Checks of counts, and of the sizes of a rollout that must divide each other."""

import math

from trl import GRPOConfig

from ..control.values import check_count


COUNTS = ("num_generations", "per_device_train_batch_size", "gradient_accumulation_steps", "num_iterations")
OPTIONAL = ("steps_per_generation", "generation_batch_size", "max_completion_length", "goal_k")
FROM_ZERO = ("dynamic_sampling_tries", "overlong_cache")


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
    rows, group = args.per_device_eval_batch_size * args.world_size, args.num_generations_eval or args.num_generations
    if args.eval_strategy != "no" and rows % group != 0:
        raise ValueError(
            f"`per_device_eval_batch_size` times the processes must be a multiple of {group} (completions per "
            f"prompt), got {rows}: set it to {group}, or num_generations_eval to a divisor of {rows}"
        ) from None
