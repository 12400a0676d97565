"""CE-GPPO: tokens beyond PPO's clip keep a bounded gradient.

Source: "CE-GPPO" (arXiv 2509.20712).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from ..control.base import Actuator, ActuatorArgs
from ..control.values import check_number
from .batch import FAR, NO_CLIP, MicroBatch, per_token
from .checks import CLIPPED_LOSSES, check_clip_binds, check_token_ratios


@dataclass(frozen=True)
class CEGPPOActuator(Actuator):
    """
    An actuator that gives back a part of the gradient that PPO's clip takes away.

    A token with a negative advantage whose ratio is below 1 - `epsilon` gets `beta1` times the gradient that it had at
    that bound. A token with a positive advantage whose ratio is above 1 + `epsilon_high` gets `beta2` times the
    gradient at that one. With 0 and 0 the gradient is PPO's.

    The control is `beta2` - `beta1`. The larger one stays as it is. So more control means more of the gradient that
    raises unlikely tokens, or less of the one that lowers them.

    Args:
        beta1 (`float`, *optional*, defaults to `0.75`):
            First coefficient below the clip, at least 0. The authors use 0.75 for 7B models and 0.5 for 1.5B models.
        beta2 (`float`, *optional*, defaults to `1.0`):
            First coefficient above the clip, at least 0.
        low (`float`, *optional*, defaults to `-1.0`):
            Lower bound of the control.
        high (`float`, *optional*, defaults to `1.0`):
            Upper bound of the control.
    """

    beta1: float = 0.75
    beta2: float = 1.0
    low: float = -1.0
    high: float = 1.0
    alone = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("beta1", self.beta1, "0.75", least=0)
        check_number("beta2", self.beta2, "1", least=0)

    def initial(self, args: ActuatorArgs) -> float:
        """Return `beta2` - `beta1`."""
        return self.beta2 - self.beta1

    def settings(self, control: float, args: ActuatorArgs) -> dict[str, float]:
        """Return both coefficients; neither is below 0."""
        larger = max(self.beta1, self.beta2)
        return {
            "ce_gppo_beta1": max(larger - max(control, 0.0), 0.0),
            "ce_gppo_beta2": max(larger + min(control, 0.0), 0.0),
        }

    def check(self, args: ActuatorArgs) -> None:
        """Raise `ValueError` if no ratio can leave the clip, or if another option takes the gradient away."""
        check_clip_binds("ce_gppo", args, CLIPPED_LOSSES)
        check_token_ratios("ce_gppo", args)
        if args.delta is not None:
            words = f"got {args.delta}, because it takes the gradient of large ratios away: remove delta"
            raise ValueError(f"`delta` must be unset with ce_gppo, {words}")

    def clip(self, batch: MicroBatch, settings: Mapping[str, float]) -> tuple[float, float]:
        """Return bounds that no ratio reaches, because `advantages` bounds the gradients."""
        return 1.0, NO_CLIP

    def advantages(self, batch: MicroBatch, settings: Mapping[str, float]) -> torch.Tensor:
        """Return advantages of shape `(batch, tokens)` whose product with the ratio has the published gradient."""
        advantages = per_token(batch.inputs["advantages"], batch.logps)
        ratios = (batch.logps.detach() - batch.old_logps).clamp(-FAR, FAR).exp()
        low, high = batch.clip
        below = (advantages < 0.0) & (ratios < 1.0 - low)
        above = (advantages > 0.0) & (ratios > 1.0 + high)
        advantages = torch.where(below, settings["ce_gppo_beta1"] * (1.0 - low) / ratios * advantages, advantages)
        return torch.where(above, settings["ce_gppo_beta2"] * (1.0 + high) / ratios * advantages, advantages)
