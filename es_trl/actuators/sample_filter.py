"""Entrocraft: outside the band only completions of one sign are learned from.

Source: "Addressing Performance Saturation for LLM RL via Precise Entropy Curve Control" (arXiv 2604.26326), Algorithm
1. The band is a schedule and the width of a [`BandSignController`].
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch

from ..control.base import Actuator, ActuatorArgs, Kept
from .batch import MicroBatch, Scores
from .checks import check_bounds


FIRST = 5  # rollouts in which rewards are looked at: later ones may lack a sign by chance


@dataclass(frozen=True)
class SampleFilterActuator(Actuator):
    """
    With m = -1 where entropy is below the band and +1 where it is above: keep a completion where m * advantage >= 0.

    Args:
        variant (`"paper"` or `"code"`):
            `paper`: group-normalised advantages, and the loss's mean over what is kept. `code`, as the authors' code
            has it: outside the band rewards take the place of advantages, those of the other sign become 0 and stay
            in the mean, and prompts whose completions are all right or all wrong count, too. It needs rewards of
            both signs.
        min_kept (`float`):
            Share of the completions that have an advantage; where fewer would be kept, all are, from 0 to 1.
        low (`float`), high (`float`):
            -1 and 1; 0 for an end that is never to be filtered at.
    """

    variant: Literal["paper", "code"] = "paper"
    min_kept: float = 0.05
    low: float = -1.0
    high: float = 1.0
    alone = True
    needs_sign = True

    def __post_init__(self):
        check_bounds(self)
        if self.variant not in ("paper", "code"):
            raise ValueError(f"`variant` is {self.variant!r}, which is no known one: set `paper` or `code`")
        if not 0.0 <= self.min_kept <= 1.0:
            raise ValueError(f"`min_kept` is {self.min_kept}, and it is a share: set it from 0 to 1, for example 0.05")
        if {self.low, self.high} - {-1.0, 0.0, 1.0}:
            raise ValueError(
                f"the bounds are low={self.low} and high={self.high}, and a completion is kept or not: set -1 and 1"
            )

    def settings(self, control: float, args: ActuatorArgs) -> dict[str, float]:
        return {"sample_filter": control}

    def columns(self, scores: Scores, args: ActuatorArgs) -> dict[str, torch.Tensor]:
        if self.variant == "code" and scores.rollout < FIRST:
            check_signs(scores.answers, scores.rollout)
        down, up = (self._filtered(scores, m) for m in (1.0, -1.0))  # what lowers entropy, and what raises it
        return {
            "filtered": torch.stack([down[0], up[0]], dim=1),
            "kept": torch.tensor([[down[1], up[1]]]).expand(len(down[0]), 2).to(down[0]),
        }

    def _filtered(self, scores: Scores, m: float) -> tuple[torch.Tensor, float]:
        """The advantages for this m, and the share of the completions that is kept, NaN where too few would be."""
        if self.variant == "code":
            values = scores.rewards.nan_to_num(0.0)
            keeps = m * values > 0.0
            scale = 1.0
        else:
            values = scores.advantages
            keeps = m * values >= 0.0
            scale = mean_over_kept(keeps, scores.tokens if scores.token_mean else torch.ones_like(values))
        able = values != 0.0
        if able.any() and (keeps & able).sum() <= self.min_kept * able.sum():
            return scores.advantages, math.nan
        return torch.where(keeps, values * scale, 0.0), keeps.float().mean().item()

    def kept(self, batch: MicroBatch, settings: Mapping[str, float]) -> Kept | None:
        control = settings["sample_filter"]
        share = 1.0 if control == 0.0 else batch.inputs["kept"][0, int(control > 0.0)].item()
        if not math.isnan(share):
            return Kept(share)
        return Kept(
            1.0,
            f"of the completions with {'negative' if control > 0.0 else 'positive'} advantages there are too few "
            f"(at most {self.min_kept:.0%} of those with any): all are kept",
        )

    def advantages(self, batch: MicroBatch, settings: Mapping[str, float]) -> torch.Tensor:
        control = settings["sample_filter"]
        return batch.inputs["advantages"] if control == 0.0 else batch.inputs["filtered"][:, int(control > 0.0)]


def mean_over_kept(keeps: torch.Tensor, weights: torch.Tensor) -> float:
    """
    What turns a mean in which the rest counts as 0 into one over what is kept.

    Args:
        keeps (`torch.Tensor` of shape `(completions,)`):
            Which are kept.
        weights (`torch.Tensor` of shape `(completions,)`):
            What each counts in the mean: its tokens, or 1.
    """
    kept = (weights * keeps).sum().item()
    return weights.sum().item() / kept if kept > 0.0 else 1.0


def check_signs(rewards: torch.Tensor, rollout: int) -> None:
    """
    Refuse rewards on a scale where one sign is missing, so that its side of the filter would have no gradient.

    Args:
        rewards (`torch.Tensor` of shape `(completions,)`):
            Without the punishment for length. All equal, they say nothing yet.
        rollout (`int`):
            Index of the rollout, for the message.
    """
    given = rewards[~rewards.isnan()]
    if len(given) == 0 or given.min() == given.max() or given.min() < 0.0 < given.max():
        return
    side, where = ("negative", "below") if given.min() >= 0.0 else ("positive", "above")
    raise ValueError(
        f"the rewards of rollout {rollout} are from {given.min().item():g} to {given.max().item():g}, and the `code` "
        f"variant of sample_filter learns from {side} rewards alone where entropy is {where} the band: without "
        "any it has no gradient there. Let the reward be 1 for right and -1 for wrong, or set variant: paper, which "
        "goes by the sign of the advantages"
    )
