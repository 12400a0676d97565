"""REPO-R: advantages that grow or shrink with the surprise of a token.

Source: "Entropy-Preserving Reinforcement Learning" (arXiv 2603.11682), appendix D.2.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from ..control.base import Actuator, ActuatorArgs
from .batch import MicroBatch, per_token


@dataclass(frozen=True)
class RepoActuator(Actuator):
    """
    An actuator that multiplies positive advantages by 1 - zeta log p, and negative ones by 1 + zeta log p.

    The control is zeta, and p is the present probability of the token, without gradient. With zeta above 0, unlikely
    tokens are learned more where the completion is right, and unlearned less where it is wrong. Below 0 it is the other
    way round. A factor is at least 0, so that no advantage changes its sign.

    Args:
        low (`float`, *optional*, defaults to `-0.05`):
            Lower bound of zeta.
        high (`float`, *optional*, defaults to `0.05`):
            Upper bound of zeta.
        start (`float`, *optional*, defaults to `0.0`):
            First value of zeta, within the bounds.
    """

    low: float = -0.05
    high: float = 0.05
    start: float = 0.0
    setting = "repo_zeta"

    @property
    def alone(self) -> bool:
        """Whether zeta begins at another value than 0, so that the actuator cannot wait in a chain."""
        return self.start != 0.0

    def initial(self, args: ActuatorArgs) -> float:
        """Return `start`."""
        return self.start

    def advantages(self, batch: MicroBatch, settings: Mapping[str, float]) -> torch.Tensor:
        """Return the changed advantages, `(batch, tokens)`; for a zeta of 0 as they are."""
        advantages, zeta = batch.inputs["advantages"], settings["repo_zeta"]
        if zeta == 0.0:
            return advantages
        advantages = per_token(advantages, batch.logps)
        return advantages * (1.0 - zeta * advantages.sign() * batch.logps.detach()).clamp(min=0.0)
