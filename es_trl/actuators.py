"""Actuators: what a control moves in the trainer, within which bounds, and whether it can move entropy at all.

An actuator maps a control to settings, the trainer attributes to set. It has authority only in some configurations
(a clip that never binds moves nothing), so [`Actuator.check`] refuses the others with the sentence that says what to
set.
"""

import math
from dataclasses import dataclass
from typing import Protocol

from .geometry import updates_per_rollout


CLIPPED_LOSSES = ("grpo", "bnpo", "dr_grpo", "dapo", "luspo")  # read both bounds as offsets of the ratio from 1
LOSSES = (*CLIPPED_LOSSES, "cispo", "sapo", "vespo")


class ActuatorArgs(Protocol):
    """The fields of `GRPOConfig` that decide an actuator's authority."""

    epsilon: float
    epsilon_high: float | None
    delta: float | None
    off_policy_mask_threshold: float | None
    entropy_coef: float
    use_adaptive_entropy: bool
    entropy_target: float
    beta: float
    loss_type: str
    importance_sampling_level: str
    steps_per_generation: int
    num_iterations: int
    gradient_accumulation_steps: int


class Actuator(Protocol):
    """What the control loop asks of an actuator."""

    low: float
    high: float

    def initial(self, args: ActuatorArgs) -> float:
        """The control whose settings are those that the trainer has anyway."""

    def settings(self, control: float, args: ActuatorArgs) -> dict[str, float]:
        """Trainer attribute to value. More control means more entropy."""

    def check(self, args: ActuatorArgs) -> None:
        """Raise `ValueError` where the actuator has no authority, or less than its bounds say."""


@dataclass(frozen=True)
class ClipHighActuator:
    """
    The upper PPO clip bound, `epsilon_high` (clip-higher; what the paper's Algorithm 1 moves).

    Args:
        low (`float`), high (`float`):
            Bounds of `epsilon_high`, above 0. For `loss_type="cispo"`, where it is a cap on the ratio and not an
            offset from 1, both are above 1.
    """

    low: float = 0.10
    high: float = 0.40

    def __post_init__(self):
        check_bounds(self)
        if self.low <= 0.0:
            raise ValueError(f"`low` is {self.low}, and a clip bound is above 0: set 0.10")

    def initial(self, args: ActuatorArgs) -> float:
        return _epsilon_high(args)

    def settings(self, control: float, args: ActuatorArgs) -> dict[str, float]:
        return {"epsilon_high": control}

    def check(self, args: ActuatorArgs) -> None:
        _check_clip_binds("clip_high", args, (*CLIPPED_LOSSES, "cispo"))
        if args.loss_type == "cispo" and self.low <= 1.0:
            raise ValueError(
                f"clip_high from {self.low} to {self.high} with loss_type='cispo': that loss reads epsilon_high as a "
                "cap on the ratio, not as an offset from 1. Set `low` and `high` of the actuator above 1 (for example "
                "2 and 8, with epsilon_high: 5), or loss_type: dapo"
            )
        if args.importance_sampling_level == "sequence" and self.high > 0.01:
            raise ValueError(
                f"clip_high up to {self.high} with importance_sampling_level='sequence': the ratio of a sequence is "
                "its geometric mean and stays within about 1e-3 of 1, so the bound would never bind. Set `low`, "
                "`high` and epsilon_high near 3e-4, or importance_sampling_level: token"
            )
        if args.delta is not None and args.loss_type != "cispo" and self.high > args.delta - 1.0:
            raise ValueError(
                f"clip_high up to {self.high} with delta={args.delta}: the ratio is cut at delta first, so no "
                f"epsilon_high above delta - 1 acts. Set `high` to at most {args.delta - 1.0:g}, or raise delta"
            )
        check_initial(self, "epsilon_high", args)


@dataclass(frozen=True)
class ClipActuator:
    """
    Both PPO clip bounds, moved against each other by one control.

    The control is a power of ten: `epsilon_high` is multiplied by 10**control and `epsilon_low` divided by it, so at 0
    both are what the configuration says. A tight lower clip protects unlikely tokens and a wide upper one feeds them.

    Args:
        low (`float`), high (`float`):
            Bounds of the control, around 0. At `low`, `epsilon_low` must still be below 1.
    """

    low: float = -0.65
    high: float = 1.3

    def __post_init__(self):
        check_bounds(self)
        if max(-self.low, self.high) > 3.0:
            raise ValueError(
                f"the bounds are low={self.low} and high={self.high}, powers of ten: set both within -3 and 3"
            )

    def initial(self, args: ActuatorArgs) -> float:
        return 0.0

    def settings(self, control: float, args: ActuatorArgs) -> dict[str, float]:
        return {"epsilon_low": args.epsilon * 10.0**-control, "epsilon_high": _epsilon_high(args) * 10.0**control}

    def check(self, args: ActuatorArgs) -> None:
        _check_clip_binds("clip", args, CLIPPED_LOSSES)
        highest = self.settings(self.high, args)["epsilon_high"]
        if args.delta is not None and highest > args.delta - 1.0:
            raise ValueError(
                f"clip makes epsilon_high up to {highest:.3g} with delta={args.delta}: the ratio is cut at delta "
                "first, so no epsilon_high above delta - 1 acts. Set `high` lower, or raise delta"
            )
        if args.importance_sampling_level == "sequence" and args.epsilon > 0.01:
            raise ValueError(
                f"clip around epsilon={args.epsilon} with importance_sampling_level='sequence': the ratio of a "
                "sequence stays within about 1e-3 of 1, so neither bound would bind. Set epsilon and epsilon_high "
                "near 3e-4, or importance_sampling_level: token"
            )
        widest = self.settings(self.low, args)["epsilon_low"]
        if widest >= 1.0:
            raise ValueError(
                f"clip down to {self.low} makes epsilon_low {widest:.2f}, and a ratio is never below 0, so nothing "
                f"from 1 on acts. Set `low` to at least {math.log10(args.epsilon) + 0.01:.2f}, or epsilon lower"
            )
        check_initial(self, "the control", args)


@dataclass(frozen=True)
class EntropyBonusActuator:
    """
    A signed coefficient times the token-mean entropy, added to the objective around TRL's loss.

    It means the same for every `loss_type` and acts in every geometry. A negative coefficient lowers entropy.

    Args:
        low (`float`), high (`float`):
            Bounds of the coefficient, around 0. Models of billions of parameters are moved by 0.001 to 0.005 (paper,
            section 3.1: 0.0015), the Countdown lab by 0.1 and more.
    """

    low: float = -0.02
    high: float = 0.02

    def __post_init__(self):
        check_bounds(self)

    def initial(self, args: ActuatorArgs) -> float:
        return 0.0

    def settings(self, control: float, args: ActuatorArgs) -> dict[str, float]:
        return {"entropy_bonus": control}

    def check(self, args: ActuatorArgs) -> None:
        check_loss(args)
        check_no_other_bonus("entropy_bonus", args)
        check_initial(self, "the coefficient", args)


@dataclass(frozen=True)
class KLCoefActuator:
    """
    The coefficient of the KL penalty towards the reference model, TRL's `beta` (paper, Fig. 2: 0.005 slows the fall).

    More of it holds the policy at the entropy of the reference, so it cannot lead above that.

    Args:
        low (`float`), high (`float`):
            Bounds of `beta`, above 0: with `beta` at 0 TRL makes no pass of the reference model.
    """

    low: float = 0.0001
    high: float = 0.1

    def __post_init__(self):
        check_bounds(self)
        if self.low <= 0.0:
            raise ValueError(f"`low` is {self.low}, and TRL leaves the reference model out where beta is 0: set 0.0001")

    def initial(self, args: ActuatorArgs) -> float:
        return args.beta

    def settings(self, control: float, args: ActuatorArgs) -> dict[str, float]:
        return {"beta": control}

    def check(self, args: ActuatorArgs) -> None:
        check_loss(args)
        if args.beta == 0.0:
            raise ValueError(
                "kl_coef has no authority with beta=0, because no reference model is loaded then: set beta, for "
                "example 0.005"
            )
        check_initial(self, "beta", args)


def _epsilon_high(args: ActuatorArgs) -> float:
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


def _check_clip_binds(kind: str, args: ActuatorArgs, losses: tuple[str, ...]) -> None:
    for name, value in (("epsilon", args.epsilon), ("epsilon_high", _epsilon_high(args))):
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
