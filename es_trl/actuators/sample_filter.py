"""Entrocraft: while entropy is outside the band, only completions with advantages of one sign are trained on.

Source: "Addressing Performance Saturation for LLM RL via Precise Entropy Curve Control" (arXiv 2604.26326),
Algorithm 1.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch

from ..control.base import Actuator, ActuatorArgs, Kept
from ..control.values import check_choice, check_number
from .batch import MicroBatch, Scores


FIRST = 5  # number of first rollouts whose rewards are checked; later ones may lack a sign by chance


@dataclass(frozen=True)
class SampleFilterActuator(Actuator):
    """
    An actuator that trains only on the completions of one sign while entropy is outside the band.

    Below the band it keeps the completions with negative advantages, which raises entropy. Above the band it keeps the
    completions with positive advantages, which lowers entropy. Advantages of 0 are kept on both sides. In the paper's
    notation, it keeps a completion if m * advantage >= 0, where m is minus the control.

    Args:
        variant (`"paper"` or `"code"`, *optional*, defaults to `"paper"`):
            `"paper"` filters TRL's advantages, and the loss is a mean over the kept completions. `"code"` follows the
            authors' code: outside the band, rewards replace advantages. Rewards of the other sign become 0 and stay in
            the mean. Prompts whose completions all have the same reward count, too. `"code"` needs rewards of both
            signs.
        min_kept (`float`, *optional*, defaults to `0.05`):
            Share from 0 to 1 of the completions with an advantage other than 0. If no more than this share would be
            kept, all completions are kept.
        low (`float`, *optional*, defaults to `-1.0`):
            Lower bound of the control: -1, or 0 for no filter above the band.
        high (`float`, *optional*, defaults to `1.0`):
            Upper bound of the control: 1, or 0 for no filter below the band.
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
            words = f"got {self.low} and {self.high}, because the filter reads only a sign: set -1 and 1"
            raise ValueError(f"the bounds of sample_filter must be -1, 0 or 1, {words}")

    def columns(self, scores: Scores, args: ActuatorArgs) -> dict[str, torch.Tensor]:
        """Return the filtered advantages and kept shares, each with one column per direction."""
        if self.variant == "code" and scores.rollout < FIRST:
            check_signs(scores.task_rewards, scores.rollout)
        down, up = (self._filtered(scores, m) for m in (1.0, -1.0))  # `down` lowers entropy, `up` raises it
        return {
            "filtered": torch.stack([down[0], up[0]], dim=1),
            "kept": torch.tensor([[down[1], up[1]]]).expand(len(down[0]), 2).to(down[0]),
        }

    def _filtered(self, scores: Scores, m: float) -> tuple[torch.Tensor, float]:
        """Return the filtered advantages for m, and the share of the completions kept; NaN if it is too small."""
        if self.variant == "code":
            values, scale = scores.rewards.nan_to_num(0.0), 1.0
            keeps = m * values > 0.0
        else:
            values = scores.advantages
            keeps = m * values >= 0.0
            # TRL's loss is a mean over all completions or tokens: the scale makes it a mean over the kept ones
            weights = scores.tokens if scores.token_mean else torch.ones_like(values)
            used = (weights * keeps).sum().item()
            scale = weights.sum().item() / used if used > 0.0 else 1.0
        able = values != 0.0
        if able.any() and (keeps & able).sum() <= self.min_kept * able.sum():
            return scores.advantages, math.nan
        return torch.where(keeps, values * scale, 0.0), keeps.float().mean().item()

    def kept(self, batch: MicroBatch, settings: Mapping[str, float]) -> Kept | None:
        """Return the share kept at the present control, with a message if the filter was too strict."""
        control = settings["sample_filter"]
        share = 1.0 if control == 0.0 else batch.inputs["kept"][0, int(control > 0.0)].item()
        if not math.isnan(share):
            return Kept(share)
        sign, most = "negative" if control > 0.0 else "positive", f"at most {self.min_kept:.0%} of all that are not 0"
        return Kept(1.0, f"the completions with {sign} advantages are too few ({most}), so all completions are kept")

    def advantages(self, batch: MicroBatch, settings: Mapping[str, float]) -> torch.Tensor:
        """Return the advantages filtered for the present control, of shape `(batch,)`."""
        control = settings["sample_filter"]
        return batch.inputs["advantages"] if control == 0.0 else batch.inputs["filtered"][:, int(control > 0.0)]


def check_signs(rewards: torch.Tensor, rollout: int) -> None:
    """
    Raise `ValueError` for rewards that lack one sign, because the filter would keep nothing on that side.

    Rewards that are all equal are not judged.
    """
    given = rewards[~rewards.isnan()]
    if len(given) == 0 or given.min() == given.max() or given.min() < 0.0 < given.max():
        return
    side, where = ("negative", "below") if given.min() >= 0.0 else ("positive", "above")
    raise ValueError(
        f"the rewards must have both signs for the `code` variant of sample_filter, got {given.min().item():g} to "
        f"{given.max().item():g} in rollout {rollout}, because it trains only on {side} rewards while entropy is "
        f"{where} the band: return for example 1 for right and -1 for wrong, or set variant: paper"
    )
