"""The checks that several actuators share."""

from ..control.base import ActuatorArgs
from ..control.geometry import updates_per_rollout
from ..control.values import check_number


CLIPPED_LOSSES = ("grpo", "bnpo", "dr_grpo", "dapo", "luspo")  # read both bounds as offsets of the ratio from 1
LOSSES = (*CLIPPED_LOSSES, "cispo", "sapo", "vespo")


def configured_epsilon_high(args: ActuatorArgs) -> float:
    """Return the upper clip, which is the lower one where it is unset."""
    return args.epsilon if args.epsilon_high is None else args.epsilon_high


def check_clip_binds(kind: str, args: ActuatorArgs, losses: tuple[str, ...]) -> None:
    """Raise unless the loss is one of `losses`, which read the clip, and the policy moves before its last update."""
    check_number("epsilon", args.epsilon, "0.2", above=0)
    check_number("epsilon_high", configured_epsilon_high(args), "0.28", above=0)
    if args.loss_type not in losses:
        raise ValueError(
            f"{kind} has no authority with loss_type={args.loss_type!r}, which does not read what it moves: set "
            f"loss_type to one of {', '.join(losses)}, or the actuator to entropy_bonus"
        )
    if updates_per_rollout(args) <= 1:
        updates, steps = updates_per_rollout(args), args.gradient_accumulation_steps
        raise ValueError(
            f"{kind} has no authority with {updates} update per rollout, because every ratio is then exactly 1: set "
            f"steps_per_generation to {2 * steps} or another multiple of gradient_accumulation_steps (the paper's 16 "
            f"updates: {16 * steps}), or num_iterations above 1, or the actuator to entropy_bonus"
        )
