"""Checks that several actuators share."""

from ..control.base import ActuatorArgs
from ..control.geometry import updates_per_rollout
from ..control.values import check_number


CLIPPED_LOSSES = ("grpo", "bnpo", "dr_grpo", "dapo", "luspo")  # these read both bounds as offsets of the ratio from 1
LOSSES = (*CLIPPED_LOSSES, "cispo", "sapo", "vespo")


def configured_epsilon_high(args: ActuatorArgs) -> float:
    """Return the configured upper clip; if `epsilon_high` is unset, it equals the lower one."""
    return args.epsilon if args.epsilon_high is None else args.epsilon_high


def check_token_ratios(kind: str, args: ActuatorArgs) -> None:
    """Raise `ValueError` unless each token has a ratio of its own; `kind` is the actuator's name in a recipe."""
    if args.importance_sampling_level != "token":
        words = f"got {args.importance_sampling_level!r}: set importance_sampling_level: token"
        raise ValueError(f"`importance_sampling_level` must be `token` with {kind}, {words}")


def check_clip_binds(kind: str, args: ActuatorArgs, losses: tuple[str, ...]) -> None:
    """
    Raise `ValueError` unless the clip can act.

    The loss must be one of `losses`, which read the clip, and a rollout must have more than one update. `kind` is the
    actuator's name in a recipe.
    """
    check_number("epsilon", args.epsilon, "0.2", above=0)
    check_number("epsilon_high", configured_epsilon_high(args), "0.28", above=0)
    if args.loss_type not in losses:
        raise ValueError(
            f"{kind} has no authority with loss_type={args.loss_type!r}, which does not read the clip: set loss_type "
            f"to one of {', '.join(losses)}, or the actuator to entropy_bonus"
        )
    if updates_per_rollout(args) <= 1:
        updates, steps = updates_per_rollout(args), args.gradient_accumulation_steps
        raise ValueError(
            f"{kind} has no authority with {updates} update per rollout, because every ratio is then exactly 1: set "
            f"steps_per_generation to {2 * steps} or another multiple of gradient_accumulation_steps ({16 * steps} for "
            "the 16 updates of the paper), or num_iterations above 1, or the actuator to entropy_bonus"
        )


def check_summed_rewards(kind: str, args: ActuatorArgs) -> None:
    """Raise `ValueError` unless the rewards of several functions are summed before TRL normalizes them."""
    if args.multi_objective_aggregation != "sum_then_normalize":
        raise ValueError(
            f"`multi_objective_aggregation` must be sum_then_normalize with {kind}, which takes one reward per "
            f"completion, got {args.multi_objective_aggregation}: set it"
        )
