"""QAE: the advantage of a completion is its reward minus a quantile of its prompt's rewards, not minus their mean.

Source: "Quantile Advantage Estimation for Entropy-Safe Reasoning" (arXiv 2509.22611).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from trl.trainer.utils import nanstd

from ..control.base import Actuator, ActuatorArgs
from ..control.values import check_number
from .batch import MicroBatch, Scores
from .checks import check_summed_rewards


EPS = 1e-4  # TRL's, which it adds to the standard deviation
ROUNDING = 1e-9  # K times the number of completions may be this far above a whole number


@dataclass(frozen=True)
class QuantileBaselineActuator(Actuator):
    """
    An actuator that replaces the mean of a prompt's rewards in the advantages by their K-quantile.

    The control is K. The quantile is the smallest reward that at least the share K of the completions do not exceed.
    With rewards of 0 and 1, a prompt whose share of right completions is at most 1 - K learns only from the right
    ones. Any other prompt learns only from the wrong ones. So a larger K means more prompts that learn only from wrong
    completions, and in the paper more entropy. The scale of the advantages is TRL's, as `scale_rewards` says.

    Args:
        start (`float`, *optional*, defaults to `0.4`):
            First value of K, within the bounds. The paper's value is 0.4, and 0.6 against an early collapse.
        low (`float`, *optional*, defaults to `0.1`):
            Lower bound of K, above 0.
        high (`float`, *optional*, defaults to `0.9`):
            Upper bound of K, below 1.
    """

    start: float = 0.4
    low: float = 0.1
    high: float = 0.9
    setting = "quantile"
    alone = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("low", self.low, "a quantile, for example 0.1", above=0)
        check_number("high", self.high, "a quantile, for example 0.9", below=1)

    def initial(self, args: ActuatorArgs) -> float:
        """Return `start`."""
        return self.start

    def check(self, args: ActuatorArgs) -> None:
        """Raise `ValueError` unless TRL sums the rewards of several functions before it normalizes them."""
        check_summed_rewards("quantile_baseline", args)

    def columns(self, scores: Scores, args: ActuatorArgs) -> dict[str, torch.Tensor]:
        """Return the column `by_baseline`: the advantages of each completion for each of its prompt's rewards."""
        rewards = scores.rewards.view(-1, scores.num_generations)
        return {"by_baseline": advantages_by_baseline(rewards, args.scale_rewards)}

    def advantages(self, batch: MicroBatch, settings: Mapping[str, float]) -> torch.Tensor:
        """Return the advantages for the present K, of shape `(batch,)`."""
        return at_quantile(batch.inputs["by_baseline"], settings["quantile"])


def advantages_by_baseline(rewards: torch.Tensor, scale_rewards: str) -> torch.Tensor:
    """
    Return the advantages with each reward of the prompt as the baseline, from the lowest to the highest.

    Args:
        rewards (`torch.Tensor` of shape `(prompts, completions)`):
            Rewards; NaN for a completion without one.
        scale_rewards (`str`):
            TRL's field: `"group"`, `"batch"` or `"none"`.

    Returns:
        `torch.Tensor` of shape `(prompts * completions, completions)`: advantages; NaN where the completion or the
        baseline has no reward.
    """
    ordered = rewards.sort(dim=1).values  # NaN comes last
    differences = rewards.unsqueeze(2) - ordered.unsqueeze(1)
    if scale_rewards != "none":
        std = nanstd(rewards, dim=1).view(-1, 1, 1) if scale_rewards == "group" else nanstd(rewards)
        differences = differences / (std.nan_to_num(0.0) + EPS)
    return differences.flatten(0, 1)


def at_quantile(by_baseline: torch.Tensor, quantile: float) -> torch.Tensor:
    """Return the advantages whose baseline is the `quantile` of the rewards, 0 for a completion without a reward."""
    counts = (~by_baseline.isnan()).sum(dim=1, keepdim=True)
    places = (quantile * counts.double() - ROUNDING).ceil().long().clamp(min=1) - 1
    return by_baseline.gather(1, places).squeeze(1).nan_to_num(0.0)
