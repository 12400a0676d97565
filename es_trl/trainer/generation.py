"""The choice of a rollout's prompts between its generation and its scoring.

TRL generates and scores a whole rollout in one method. Dynamic sampling and early exit replace prompts inside this
method. So TRL computes log-probabilities only once, for the completions that are trained on.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from trl import GRPOTrainer

from ..common.temporarily import temporarily
from ..control.loop import broken_policy
from ..curriculum.dynamic_sampling import Filling, nothing_to_learn
from ..curriculum.prompt_choice import PromptChoice
from ..curriculum.scored import Rows, ScoredCompletions, bring, columns_of, entries_of, own_share
from .rollout import OpenRollout
from .sensor import completion_mask


class Refill:
    """
    Fills a rollout with prompts that are worth training on.

    Afterwards the trainer's metrics and logged columns describe only the completions that are trained on.

    Args:
        trainer (`GRPOTrainer`), choice (`PromptChoice`):
            The trainer, and the rules that choose the prompts.
        draw (`Callable[[int], list[dict]]`):
            Function from a number to the rows of that many new prompts, over all processes.
        generate (`Callable`), reward (`Callable`):
            TRL's own `_generate` and `_calculate_rewards`.
    """

    def __init__(
        self,
        trainer: GRPOTrainer,
        choice: PromptChoice,
        draw: Callable[[int], Rows],
        generate: Callable[..., tuple[Any, ...]],
        reward: Callable[..., torch.Tensor],
    ):
        self._trainer, self._choice = trainer, choice
        self._draw, self._generate, self._reward = draw, generate, reward

    def __call__(self, rollout: OpenRollout, prompts: list[Any]) -> tuple[Any, ...]:
        """
        Generate completions for a rollout, and for prompts that replace others.

        The value is that of TRL's `_generate`. `prompts` and the rows of the rollout are changed in place, because TRL
        continues with the list that it passed.
        """
        metrics, accelerator = self._trainer._metrics["train"], self._trainer.accelerator
        before = {name: len(values) for name, values in metrics.items()}
        size, first = self._trainer.num_generations, accelerator.process_index * len(rollout.rows)
        drawn = gather_object([row for i, row in enumerate(rollout.rows, start=first) if i % size == 0])
        filling = Filling(self._choice, size, self._complete)
        filled = filling.fill(drawn, self._draw)
        if filled.masked.all():
            raise ValueError(nothing_to_learn(rollout.rollout, self._choice, filled.sampling))
        entries = bring(filled.sources, filling.generations, accelerator)
        rollout.rows[:] = [entry["row"] for entry in entries]
        prompts[:] = [row["prompt"] for row in rollout.rows]
        early_exit = None if filled.early_exit is None else asdict(filled.early_exit)
        rollout.refill(filled.rewards, filled.masked, asdict(filled.sampling), early_exit)
        for column in entries[0]["logged"]:
            self._trainer._pending_extra_logs[column] = [entry["logged"].get(column) for entry in entries]
        columns = columns_of(entries)
        for name, value in self._lengths(columns[1]).items():
            metrics[name][before.get(name, 0) :] = [value]  # TRL's describe the prompts that were tried
        return (*columns, {}, *filling.generations[0].others)

    def _complete(self, prompts: Rows, count: int) -> ScoredCompletions:
        """Generate `count` completions of each prompt on all processes together, and compute their rewards."""
        accelerator = self._trainer.accelerator
        repeated = [row for row in prompts for _ in range(count)]
        rows = own_share(repeated, accelerator.process_index, accelerator.num_processes)
        with temporarily(self._trainer, num_generations=count):  # a vLLM server groups the prompts by it
            generated = self._generate([row["prompt"] for row in rows])
        _, completion_ids, _, completions, _, extra_fields, images, *_ = generated
        if images is not None:
            raise ValueError(
                "`dynamic_sampling_tries` and `early_generations` must be 0 for prompts with images, which cannot be "
                "replaced: set them to 0"
            )
        for name, values in extra_fields.items():  # a rollout function returns them, and TRL passes them to the rewards
            for i, row in enumerate(rows):
                row[name] = values[i] if isinstance(values, list) else values
        rewards = self._reward(rows, [row["prompt"] for row in rows], completions, completion_ids)
        pending = self._trainer._pending_extra_logs
        entries = entries_of(rows, generated, dict(pending))
        pending.clear()
        tokens = gather_object([len(ids) for ids in completion_ids])
        return ScoredCompletions(entries, rewards, tokens, generated[6:])

    def _lengths(self, completion_ids: list[list[int]]) -> dict[str, float]:
        """Return statistics of the lengths of the completions of all processes, by TRL's names."""
        accelerator = self._trainer.accelerator
        own = torch.tensor(lengths_of(self._trainer, completion_ids), dtype=torch.float, device=accelerator.device)
        lengths, truncated = accelerator.gather(own).unbind(dim=1)
        ended = lengths[truncated == 0]
        kinds = {"": lengths, "terminated_": ended if len(ended) else lengths.new_zeros(1)}
        shown = {
            f"{name}_{kind}length": getattr(values, name)()
            for kind, values in kinds.items()
            for name in ("mean", "min", "max")
        }
        shown["clipped_ratio"] = truncated.mean()
        return {f"completions/{name}": value.item() for name, value in shown.items()}


def lengths_of(trainer: GRPOTrainer, completion_ids: list[list[int]]) -> list[tuple[int, bool]]:
    """Return the tokens of each completion, and whether it was cut at the limit, as TRL counts both."""
    ends = {*trainer.eos_token_ids, trainer._tokenizer.pad_token_id}
    return [(len(ids), len(ids) > 0 and ids[-1] not in ends) for ids in completion_ids]


def choice_of(trainer: GRPOTrainer, functions: int) -> PromptChoice:
    """Return the rules by which a trainer chooses prompts; its first `functions` reward functions judge the task."""
    args = trainer.args
    return PromptChoice(
        tries=args.dynamic_sampling_tries,
        weights=trainer.reward_weights,
        by_function=trainer.multi_objective_aggregation == "normalize_then_sum",
        functions=functions,
        early=args.early_generations,
        rates=tuple(args.early_pass_rates),
    )


def left_out(rollout: OpenRollout, choice: PromptChoice, leaves_uniform: bool, size: int) -> torch.Tensor | None:
    """Return which prompts, of `size` completions each, the loss leaves out: bool of shape `(prompts,)`, or `None`."""
    if not leaves_uniform:
        return rollout.masked
    uniform = choice.uniform(rollout.rewards, size)
    both = uniform if rollout.masked is None else uniform | rollout.masked
    return rollout.masked if both.all() else both


def mask_prompts(batch: dict[str, Any], prompts: torch.Tensor, accelerator: Accelerator) -> None:
    """Leave the marked `prompts`, bool of shape `(prompts,)`, out of the loss; `batch` has the rows of this process."""
    kept = ~prompts.to(batch["prompt_index"].device)[batch["prompt_index"]]
    batch["completion_mask"] = batch["completion_mask"] * kept.unsqueeze(1)
    batch["advantages"] = batch["advantages"].masked_fill(~kept, 0.0)  # as where all rewards are equal
    batch["num_items_in_batch"] = accelerator.gather(completion_mask(batch).sum()).sum()


@contextlib.contextmanager
def unbroken(rollout: int) -> Iterator[None]:
    """Raise an error that explains the broken policy where torch cannot sample a token from it."""
    try:
        yield
    except RuntimeError as error:
        if "probability tensor contains" not in str(error):  # torch's error for NaN and infinity
            raise
        raise ValueError(broken_policy(rollout, "no token can be sampled from it")) from error
