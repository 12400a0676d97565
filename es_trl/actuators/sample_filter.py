"""Entrocraft: outside the band only completions of one sign are trained on.

Source: "Addressing Performance Saturation for LLM RL via Precise Entropy Curve Control" (arXiv 2604.26326), Algorithm 1
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch

from ..control.base import Actuator, ActuatorArgs, Kept
from ..control.values import check_choice, check_number
from .batch import MicroBatch, Scores


FIRST = 5  # rollouts whose rewards are checked: later ones may lack a sign by chance


@dataclass(frozen=True)
class SampleFilterActuator(Actuator):
    """
    Keeps a completion where m * advantage >= 0, with m = -1 where entropy is below the band and +1 where it is above.

    Args:
        variant (`"paper"` or `"code"`):
            `paper`: group-normalised advantages, and the loss's mean over the kept completions. `code`, as in the
            authors' code: outside the band rewards take the place of advantages, those of the other sign become 0 and
            stay in the mean, and prompts whose completions are all right or all wrong count, too. It needs rewards of
            both signs.
        min_kept (`float`):
            Least share of the completions with an advantage, from 0 to 1; where fewer would be kept, all are.
        low (`float`), high (`float`):
            -1 and 1; 0 for an end at which nothing is filtered.
    """

    variant: Literal["paper", "code"] = "paper"
    min_kept: float = 0.05
    low: float = -1.0
    high: float = 1.0
    setting = "sample_filter"
    alone = True
    needs_sign = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("variant", self.variant, ("paper", "code"))
        check_number("min_kept", self.min_kept, "a share, for example 0.05", least=0, most=1)
        if {self.low, self.high} - {-1.0, 0.0, 1.0}:
            words = f"got {self.low} and {self.high}, because a completion is kept or not: set -1 and 1"
            raise ValueError(f"the bounds of sample_filter must be -1, 0 or 1, {words}")

    def columns(self, scores: Scores, args: ActuatorArgs) -> dict[str, torch.Tensor]:
        if self.variant == "code" and scores.rollout < FIRST:
            check_signs(scores.task_rewards, scores.rollout)
        down, up = (self._filtered(scores, m) for m in (1.0, -1.0))  # to lower entropy, and to raise it
        return {
            "filtered": torch.stack([down[0], up[0]], dim=1),
            "kept": torch.tensor([[down[1], up[1]]]).expand(len(down[0]), 2).to(down[0]),
        }

    def _filtered(self, scores: Scores, m: float) -> tuple[torch.Tensor, float]:
        """Return the advantages for this m, and the kept share of the completions, NaN where it would be too small."""
        if self.variant == "code":
            values, scale = scores.rewards.nan_to_num(0.0), 1.0
            keeps = m * values > 0.0
        else:
            values = scores.advantages
            keeps = m * values >= 0.0
            weights = scores.tokens if scores.token_mean else torch.ones_like(values)  # of each in the loss's mean
            used = (weights * keeps).sum().item()
            scale = weights.sum().item() / used if used > 0.0 else 1.0  # to the mean over the kept completions
        able = values != 0.0
        if able.any() and (keeps & able).sum() <= self.min_kept * able.sum():
            return scores.advantages, math.nan
        return torch.where(keeps, values * scale, 0.0), keeps.float().mean().item()

    def kept(self, batch: MicroBatch, settings: Mapping[str, float]) -> Kept | None:
        control = settings["sample_filter"]
        share = 1.0 if control == 0.0 else batch.inputs["kept"][0, int(control > 0.0)].item()
        if not math.isnan(share):
            return Kept(share)
        sign, most = "negative" if control > 0.0 else "positive", f"at most {self.min_kept:.0%} of those with any"
        return Kept(1.0, f"the completions with {sign} advantages are too few ({most}): all are kept")

    def advantages(self, batch: MicroBatch, settings: Mapping[str, float]) -> torch.Tensor:
        control = settings["sample_filter"]
        return batch.inputs["advantages"] if control == 0.0 else batch.inputs["filtered"][:, int(control > 0.0)]


def check_signs(rewards: torch.Tensor, rollout: int) -> None:
    """Raise for rewards that lack one sign, whose side of the filter has no gradient; equal ones say nothing yet."""
    given = rewards[~rewards.isnan()]
    if len(given) == 0 or given.min() == given.max() or given.min() < 0.0 < given.max():
        return
    side, where = ("negative", "below") if given.min() >= 0.0 else ("positive", "above")
    raise ValueError(
        f"the rewards must have both signs for the `code` variant of sample_filter, got {given.min().item():g} to "
        f"{given.max().item():g} in rollout {rollout}: it trains on {side} rewards alone where entropy is {where} the "
        "band. Let the reward be 1 for right and -1 for wrong, or set variant: paper"
    )
