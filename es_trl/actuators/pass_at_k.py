"""Pass@k training: the reward belongs to groups of k completions, and a group is right if one of them is.

Source: "Pass@k Training for Adaptively Balancing Exploration and Exploitation of Large Reasoning Models" (arXiv
2508.10751), whose advantages are the means over all groups of a prompt's completions, in closed form.
"""

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from ..control.base import Actuator, ActuatorArgs
from ..control.values import check_count, check_number
from ..estimates.pass_at_k import pass_at_k
from .batch import MicroBatch, Scores
from .checks import check_summed_rewards


@dataclass(frozen=True)
class PassAtKActuator(Actuator):
    """
    An actuator whose advantages are those of groups of k completions, so that training raises pass@k.

    The control is k. A value between two whole numbers counts as the nearest one, and one that is not below the
    completions of a prompt as their number minus 1. A completion is right if its reward, without the overlong
    punishment, is above 0. A prompt with fewer than k wrong completions gives no gradient, because every group of k has
    a right one.

    Args:
        k (`int`, *optional*, defaults to `4`):
            First value of the control, at least 1 and below `num_generations`: all completions make only one group,
            which teaches nothing. k = 1 is GRPO.
        low (`float`, *optional*, defaults to `1.0`):
            Lower bound of the control, at least 1.
        high (`float`, *optional*, defaults to `64.0`):
            Upper bound of the control.
    """

    k: int = 4
    low: float = 1.0
    high: float = 64.0
    setting = "pass_at_k"
    alone = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("k", self.k, 1)
        check_number("low", self.low, "1", least=1)

    def initial(self, args: ActuatorArgs) -> float:
        """Return `k`."""
        return float(self.k)

    def check(self, args: ActuatorArgs) -> None:
        """Raise `ValueError` unless a prompt has more than `k` completions, and advantages that are those of pass@k."""
        if self.k >= args.num_generations:
            raise ValueError(
                f"`k` of pass_at_k must be below the {args.num_generations} completions per prompt, got {self.k}, "
                "because a single group of all of them teaches nothing: set a smaller k, or raise num_generations"
            )
        if args.scale_rewards == "batch":
            words = "whose scale is that of a prompt's groups, got batch: set one of them"
            raise ValueError(f"`scale_rewards` must be group or none with pass_at_k, {words}")
        if args.overlong_cache > 0:
            words = f"which knows only right and wrong, got {args.overlong_cache}: set it to 0"
            raise ValueError(f"`overlong_cache` must be 0 with pass_at_k, {words}")
        check_summed_rewards("pass_at_k", args)

    def columns(self, scores: Scores, args: ActuatorArgs) -> dict[str, torch.Tensor]:
        """Return the column `by_k`: the advantages of each completion for k from 1 to the completions per prompt."""
        rewards = scores.task_rewards.view(-1, scores.num_generations)
        return {"by_k": advantages_by_k(rewards, args.scale_rewards != "none")}

    def advantages(self, batch: MicroBatch, settings: Mapping[str, float]) -> torch.Tensor:
        """Return the advantages for the present k, of shape `(batch,)`."""
        by_k = batch.inputs["by_k"]
        return by_k[:, min(round(settings["pass_at_k"]), by_k.shape[1] - 1) - 1]


def advantages_by_k(rewards: torch.Tensor, scales: bool) -> torch.Tensor:
    """
    Return the advantages of pass@k training.

    Args:
        rewards (`torch.Tensor` of shape `(prompts, completions)`):
            Rewards, right above 0; NaN for a completion without one, which counts in no group.
        scales (`bool`):
            Whether the advantages are divided by the standard deviation of the groups' rewards.

    Returns:
        `torch.Tensor` of shape `(prompts * completions, completions)`: one column for each k from 1 on. A k that is not
        below the number of completions with a reward counts as that number minus 1.
    """
    given = ~rewards.isnan()
    right = rewards > 0.0
    counts = torch.stack([given.sum(dim=1), right.sum(dim=1)], dim=1).tolist()
    most = rewards.shape[1]
    # all completions make one group, which teaches nothing
    ends = [most if n == most else max(n - 1, 1) for n, _ in counts]
    tables = [
        [_advantages(n, c, min(k, end), scales) for k in range(1, most + 1)]
        for (n, c), end in zip(counts, ends, strict=True)
    ]
    both = torch.tensor(tables, dtype=torch.float, device=rewards.device)  # (prompts, k, right and wrong)
    columns = torch.where(right.unsqueeze(2), both[:, None, :, 0], both[:, None, :, 1])
    return torch.where(given.unsqueeze(2), columns, 0.0).flatten(0, 1)


@functools.cache
def _advantages(completions: int, correct: int, k: int, scales: bool) -> tuple[float, float]:
    """Return the advantages of a right and of a wrong completion, both 0 where all groups have the same reward."""
    mean = pass_at_k(completions, correct, k) if completions else 0.0
    if mean in (0.0, 1.0):
        return 0.0, 0.0
    # a wrong completion is in groups of itself and k - 1 of the others
    fails = math.comb(completions - correct - 1, k - 1) / math.comb(completions - 1, k - 1)
    scale = math.sqrt(mean * (1.0 - mean)) if scales else 1.0
    return (1.0 - mean) / scale, (1.0 - mean - fails) / scale
