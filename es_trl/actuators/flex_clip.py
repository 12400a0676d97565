"""Flexible Entropy Control: a PPO clip that is wider for unlikely tokens.

Source: "Flexible Entropy Control in RLVR with Gradient-Preserving Perspective" (arXiv 2602.09782).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from ..control.base import Actuator, ActuatorArgs
from .batch import MicroBatch
from .checks import CLIPPED_LOSSES, check_clip_binds, check_token_ratios


# slope and intercept of the offsets over the probability of the token; at a probability of 1 they are near 0.2
UPPER = (-0.25, 0.5)
LOWER = (-0.13, 0.3)


@dataclass(frozen=True)
class FlexClipActuator(Actuator):
    """
    An actuator that makes the PPO clip of a token depend on the token's present probability p, without gradient.

    At a control of 0 the clip is the configured one. A control of 1 makes the upper offset 0.5 - 0.25 p, which lets
    updates raise unlikely tokens more. A control of -1 makes the lower offset 0.3 - 0.13 p, which lets updates lower
    unlikely tokens more. In between, the offset is a weighted mean.

    Args:
        low (`float`, *optional*, defaults to `-1.0`):
            Lower bound of the control, at least -1.
        high (`float`, *optional*, defaults to `1.0`):
            Upper bound of the control, at most 1.
        keeps_upper (`bool`, *optional*, defaults to `False`):
            Whether the upper offset is 0.5 - 0.25 p as long as the control is below 0, too. It completes the pattern
            `decrease_increase_decrease`. In a closed loop the effect would jump at a control of 0.
    """

    low: float = -1.0
    high: float = 1.0
    keeps_upper: bool = False
    setting = "flex_clip"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.low < -1.0 or self.high > 1.0:
            words = f"got {self.low} and {self.high}, because 1 is the whole flexible offset: set both within -1 and 1"
            raise ValueError(f"the bounds of flex_clip must be from -1 to 1, {words}")

    def check(self, args: ActuatorArgs) -> None:
        """Raise `ValueError` if the clip cannot act, or if the loss does not clip the ratio of each token."""
        check_clip_binds("flex_clip", args, CLIPPED_LOSSES)
        check_token_ratios("flex_clip", args)
        if args.delta is not None and args.delta < 1.0 + UPPER[1]:
            words = f"got {args.delta}, which would cap the flexible clip: raise or remove delta"
            raise ValueError(f"`delta` must be at least {1.0 + UPPER[1]} with flex_clip, {words}")

    def clip(
        self, batch: MicroBatch, settings: Mapping[str, float]
    ) -> tuple[float, float] | tuple[torch.Tensor, torch.Tensor]:
        """Return lower and upper offset of each token, `(batch, tokens)`; for a control of 0 as they are."""
        control = settings["flex_clip"]
        if control == 0.0:
            return batch.clip
        probabilities = batch.logps.detach().exp()
        weights = max(-control, 0.0), 1.0 if self.keeps_upper and control < 0.0 else max(control, 0.0)
        low, high = (
            (1.0 - weight) * standard + weight * (slope * probabilities + intercept)
            for standard, weight, (slope, intercept) in zip(batch.clip, weights, (LOWER, UPPER), strict=True)
        )
        return low, high
