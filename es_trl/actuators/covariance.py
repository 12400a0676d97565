"""Clip-Cov and KL-Cov: the few tokens that lower entropy most are left out or held back.

Source: "The Entropy Mechanism of Reinforcement Learning for Reasoning Language Models" (arXiv 2505.22617), section 4.
The tokens are chosen within each micro-batch.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from ..control.base import Actuator, ActuatorArgs
from ..control.geometry import updates_per_rollout
from ..control.values import check_number
from .batch import MicroBatch
from .checks import CLIPPED_LOSSES


NO_CLIP = 1e9  # an upper clip that no ratio reaches
FAR = 20.0  # nats that a token's log-probability moves by; beyond, one over the ratio would overflow


def covariances(advantages: torch.Tensor, logps: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return (A - mean A) (log pi - mean log pi) of each token, with means over the scored ones; paper, Eq. 9."""
    mask = mask.bool()
    advantages = per_token(advantages, logps)
    centred = [values - values[mask].mean() for values in (advantages, logps)]
    return centred[0] * centred[1]


def per_token(advantages: torch.Tensor, logps: torch.Tensor) -> torch.Tensor:
    """Return advantages of shape `(batch, tokens)`, a completion's for each of its tokens."""
    return (advantages.unsqueeze(1) if advantages.dim() == 1 else advantages).expand_as(logps)


@dataclass(frozen=True)
class ClipCovActuator(Actuator):
    """
    Takes the gradient from a share of the tokens, drawn at random from those of high covariance.

    Args:
        ratio (`float`), low (`float`), high (`float`):
            First value and bounds of the control: the share of the scored tokens, at least one per micro-batch.
        cov_low (`float`), cov_high (`float`):
            Covariances between which a token is drawn.
    """

    ratio: float = 2e-4
    cov_low: float = 1.0
    cov_high: float = 5.0
    low: float = 0.0
    high: float = 0.05
    setting = "clip_cov_ratio"
    alone = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("low", self.low, "a share of the tokens", least=0)
        check_number("high", self.high, "a share of the tokens", most=1)
        if self.cov_low >= self.cov_high:
            words = f"got {self.cov_low} and {self.cov_high}: set for example 1 and 5"
            raise ValueError(f"`cov_low` must be < `cov_high`, {words}")

    def initial(self, args: ActuatorArgs) -> float:
        return self.ratio

    def check(self, args: ActuatorArgs) -> None:
        _check_tokens("clip_cov", args)

    def advantages(self, batch: MicroBatch, settings: Mapping[str, float]) -> torch.Tensor:
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
    A penalty on how far the tokens of highest covariance have moved from the policy that sampled; no token is clipped.

    The gradient of A * ratio - coefficient * |log pi - log pi_old| is that of (A - coefficient * sign / ratio) * ratio,
    so TRL's loss gets it as an advantage per token, and it has the weight of the token in any loss.

    Args:
        ratio (`float`):
            Share of the scored tokens, at least one per micro-batch (the authors': 2e-3 for 7B, 2e-4 for 32B).
        coefficient (`float`), low (`float`), high (`float`):
            First value and bounds of the control (the authors' scripts: 1; verl's YAML: 0.1).
    """

    ratio: float = 2e-3
    coefficient: float = 1.0
    low: float = 0.0
    high: float = 10.0
    alone = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("ratio", self.ratio, "a share of the tokens, for example 2e-3", above=0, most=1)

    def initial(self, args: ActuatorArgs) -> float:
        return self.coefficient

    def settings(self, control: float, args: ActuatorArgs) -> dict[str, float]:
        return {"kl_cov_coef": control, "epsilon_low": 1.0, "epsilon_high": NO_CLIP}

    def check(self, args: ActuatorArgs) -> None:
        _check_tokens("kl_cov", args)
        if updates_per_rollout(args) <= 1:
            words = f"set steps_per_generation to {2 * args.gradient_accumulation_steps} or another multiple"
            raise ValueError(f"kl_cov has no authority with one update per rollout: {words}")
        if args.delta is not None:
            raise ValueError(f"`delta` must be unset with kl_cov, which clips no ratio, got {args.delta}: remove delta")
        if args.off_policy_mask_threshold is not None:
            words = f"got {args.off_policy_mask_threshold}, because the mask reads the advantages: remove it"
            raise ValueError(f"`off_policy_mask_threshold` must be unset with kl_cov, {words}")

    def advantages(self, batch: MicroBatch, settings: Mapping[str, float]) -> torch.Tensor:
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
    if args.importance_sampling_level != "token":
        words = f"got {args.importance_sampling_level!r}: set importance_sampling_level: token"
        raise ValueError(f"`importance_sampling_level` must be `token` with {kind}, {words}")
