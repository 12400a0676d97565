"""Actuators: what a control moves in the trainer, within which bounds, and whether it can move entropy at all.

An actuator maps a control to settings, the trainer attributes to set. It has authority only in some configurations
(a clip that never binds moves nothing), so [`Actuator.check`] refuses the others with the sentence that says what to
set.
"""

import math

from ..control.base import Actuator, ActuatorArgs
from ..control.geometry import updates_per_rollout


CLIPPED_LOSSES = ("grpo", "bnpo", "dr_grpo", "dapo", "luspo")  # read both bounds as offsets of the ratio from 1
LOSSES = (*CLIPPED_LOSSES, "cispo", "sapo", "vespo")


def configured_epsilon_high(args: ActuatorArgs) -> float:
    return args.epsilon if args.epsilon_high is None else args.epsilon_high


def check_no_other_bonus(kind: str, args: ActuatorArgs) -> None:
    """Refuse a bonus beside TRL's own."""
    if args.entropy_coef != 0.0:
        raise ValueError(
            f"{kind} together with TRL's entropy_coef={args.entropy_coef}: two bonuses would act at once, and only one "
            "of them would be controlled. Set entropy_coef: 0"
        )


def check_bounds(actuator: Actuator) -> None:
    """Refuse bounds with nothing between them."""
    finite = math.isfinite(actuator.low) and math.isfinite(actuator.high)
    if not finite or actuator.low >= actuator.high:
        raise ValueError(
            f"the bounds are low={actuator.low} and high={actuator.high}, and there is nothing to move between them: "
            "set `low` below `high`"
        )


def check_loss(args: ActuatorArgs) -> None:
    """Refuse a loss that TRL has not."""
    if args.loss_type not in LOSSES:
        raise ValueError(f"loss_type is {args.loss_type!r}, which TRL has not: set one of {', '.join(LOSSES)}")


def check_initial(actuator: Actuator, name: str, args: ActuatorArgs) -> None:
    """Refuse bounds that the control begins outside of."""
    initial = actuator.initial(args)
    if not actuator.low <= initial <= actuator.high:
        raise ValueError(
            f"{name} begins at {initial:g}, outside its bounds [{actuator.low:g}, {actuator.high:g}]: set `low` to at "
            f"most {initial:g} and `high` to at least that"
        )


def check_clip_binds(kind: str, args: ActuatorArgs, losses: tuple[str, ...]) -> None:
    for name, value in (("epsilon", args.epsilon), ("epsilon_high", configured_epsilon_high(args))):
        if not (math.isfinite(value) and value > 0.0):
            raise ValueError(f"{name} is {value}, and a clip bound is a finite number above 0: set 0.2")
    if args.loss_type not in losses:
        raise ValueError(
            f"{kind} has no authority with loss_type={args.loss_type!r}, which does not read what it moves: set "
            f"loss_type to one of {', '.join(losses)}, or the actuator to entropy_bonus"
        )
    if updates_per_rollout(args) <= 1:
        raise ValueError(
            f"{kind} has no authority with {updates_per_rollout(args)} update a rollout: the policy that is updated "
            "is the one that sampled, every ratio is exactly 1, and the clip never binds. Set steps_per_generation to "
            f"{2 * args.gradient_accumulation_steps} or another multiple of gradient_accumulation_steps (the paper's "
            f"16 updates a rollout: {16 * args.gradient_accumulation_steps}), or num_iterations above 1, or the "
            "actuator to entropy_bonus"
        )
