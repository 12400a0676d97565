"""Clip-Cov and KL-Cov, which act on the few tokens that lower entropy most.

These are the tokens with the highest covariance of advantage and log-probability, chosen within each micro-batch.

Source: "The Entropy Mechanism of Reinforcement Learning for Reasoning Language Models" (arXiv 2505.22617), section 4.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from ..control.base import Actuator, ActuatorArgs
from ..control.geometry import updates_per_rollout
from ..control.values import check_number
from .batch import FAR, NO_CLIP, MicroBatch, per_token
from .checks import CLIPPED_LOSSES, check_token_ratios


def covariances(advantages: torch.Tensor, logps: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """
    Return (A - mean A) (log pi - mean log pi) of each token, where the means are over the scored tokens (paper, Eq. 9).
    """
    mask = mask.bool()
    advantages = per_token(advantages, logps)
    centred = [values - values[mask].mean() for values in (advantages, logps)]
    return centred[0] * centred[1]


@dataclass(frozen=True)
class ClipCovActuator(Actuator):
    """
    An actuator that leaves some tokens without a gradient, drawn at random from those of high covariance (Clip-Cov).

    The control is the share of the scored tokens that is drawn, at least one token per micro-batch.

    Args:
        ratio (`float`, *optional*, defaults to `2e-4`):
            First value of the control, within the bounds.
        cov_low (`float`, *optional*, defaults to `1.0`):
            Covariance above which a token can be drawn, below `cov_high`.
        cov_high (`float`, *optional*, defaults to `5.0`):
            Covariance below which a token can be drawn.
        low (`float`, *optional*, defaults to `0.0`):
            Lower bound of the control, at least 0.
        high (`float`, *optional*, defaults to `0.05`):
            Upper bound of the control, at most 1.
    """

    ratio: float = 2e-4
    cov_low: float = 1.0
    cov_high: float = 5.0
    low: float = 0.0
    high: float = 0.05
    setting = "clip_cov_ratio"
    alone = True
    couples = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("low", self.low, "a share of the tokens", least=0)
        check_number("high", self.high, "a share of the tokens", most=1)
        if self.cov_low >= self.cov_high:
            words = f"got {self.cov_low} and {self.cov_high}: set for example 1 and 5"
            raise ValueError(f"`cov_low` must be < `cov_high`, {words}")

    def initial(self, args: ActuatorArgs) -> float:
        """Return `ratio`."""
        return self.ratio

    def check(self, args: ActuatorArgs) -> None:
        """Raise `ValueError` unless the loss clips the ratio of each token."""
        _check_tokens("clip_cov", args)

    def advantages(self, batch: MicroBatch, settings: Mapping[str, float]) -> torch.Tensor:
        """Return advantages of shape `(batch, tokens)`, 0 for the drawn tokens."""
        advantages, ratio = per_token(batch.inputs["advantages"], batch.logps), settings["clip_cov_ratio"]
        scored = batch.mask.bool()
        if ratio == 0.0 or not scored.any():
            return advantages
        logps = batch.logps.detach()
        ratios = (logps - batch.old_logps).exp()
        low, high = batch.clip
        clipped = (advantages > 0.0) & (ratios > 1.0 + high) | (advantages < 0.0) & (ratios < 1.0 - low)
        covs = covariances(advantages, logps, scored)
        candidates = ((covs > self.cov_low) & (covs < self.cov_high) & scored & ~clipped).flatten().nonzero().flatten()
        count = max(1, int(ratio * scored.sum().item()))
        drawn = candidates[torch.randperm(len(candidates), device=candidates.device)[:count]]
        advantages = advantages.clone()
        advantages.view(-1)[drawn] = 0.0
        return advantages


@dataclass(frozen=True)
class KLCovActuator(Actuator):
    """
    An actuator that penalizes the tokens of highest covariance for moving from the policy that sampled them (KL-Cov).

    The control is the coefficient of the penalty, and no token is clipped. The objective A * ratio - coefficient *
    |log pi - log pi_old| has the gradient of (A - coefficient * sign / ratio) * ratio. So the penalty enters TRL's loss
    as an advantage per token, and has the token's weight with every `loss_type`.

    Args:
        ratio (`float`, *optional*, defaults to `2e-3`):
            Share of the scored tokens that is penalized, above 0 and at most 1, at least one token per micro-batch. The
            authors use 2e-3 for 7B models and 2e-4 for 32B models.
        coefficient (`float`, *optional*, defaults to `1.0`):
            First value of the control, within the bounds. The authors' scripts use 1, and verl's YAML 0.1.
        low (`float`, *optional*, defaults to `0.0`):
            Lower bound of the control.
        high (`float`, *optional*, defaults to `10.0`):
            Upper bound of the control.
    """

    ratio: float = 2e-3
    coefficient: float = 1.0
    low: float = 0.0
    high: float = 10.0
    alone = True
    couples = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("ratio", self.ratio, "a share of the tokens, for example 2e-3", above=0, most=1)

    def initial(self, args: ActuatorArgs) -> float:
        """Return `coefficient`."""
        return self.coefficient

    def settings(self, control: float, args: ActuatorArgs) -> dict[str, float]:
        """Return the coefficient, and clip bounds so wide that no ratio is clipped."""
        return {"kl_cov_coef": control, "epsilon_low": 1.0, "epsilon_high": NO_CLIP}

    def check(self, args: ActuatorArgs) -> None:
        """Raise `ValueError` if the loss, the geometry or another option does not allow KL-Cov."""
        _check_tokens("kl_cov", args)
        if updates_per_rollout(args) <= 1:
            words = f"{2 * args.gradient_accumulation_steps} or another multiple of gradient_accumulation_steps"
            raise ValueError(
                f"kl_cov has no authority with one update per rollout: set steps_per_generation to {words}"
            )
        if args.delta is not None:
            raise ValueError(f"`delta` must be unset with kl_cov, which clips no ratio, got {args.delta}: remove delta")
        if args.off_policy_mask_threshold is not None:
            words = f"got {args.off_policy_mask_threshold}, because the mask reads the advantages: remove it"
            raise ValueError(f"`off_policy_mask_threshold` must be unset with kl_cov, {words}")

    def advantages(self, batch: MicroBatch, settings: Mapping[str, float]) -> torch.Tensor:
        """Return advantages of shape `(batch, tokens)`, minus the penalty for the chosen tokens."""
        advantages = per_token(batch.inputs["advantages"], batch.logps)
        scored = batch.mask.bool()
        if not scored.any():
            return advantages
        logps = batch.logps.detach()
        covs = covariances(advantages, logps, scored).masked_fill(~scored, -torch.inf)
        count = max(1, int(self.ratio * scored.sum().item()))
        highest = torch.zeros_like(scored).view(-1)
        highest[covs.flatten().topk(count).indices] = True
        moved = logps - batch.old_logps
        penalty = settings["kl_cov_coef"] * moved.sign() * (-moved.clamp(-FAR, FAR)).exp()
        return torch.where(highest.view_as(scored), advantages - penalty, advantages)


def _check_tokens(kind: str, args: ActuatorArgs) -> None:
    if args.loss_type not in CLIPPED_LOSSES:
        words = f"got {args.loss_type!r}: set one of {', '.join(CLIPPED_LOSSES)}"
        raise ValueError(f"`loss_type` must be a clipped loss with {kind}, {words}")
    check_token_ratios(kind, args)
