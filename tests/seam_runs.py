"""A run of TRL's own trainer that notes what its private methods are called with, in their order, for tests."""

import functools
from dataclasses import dataclass, field
from typing import Any

import torch
from lab_runs import LAB_ARGS
from trl import GRPOConfig, GRPOTrainer

from es_trl.lab import BASE_MODEL, countdown_dataset


NOTED = (
    "training_step", "_prepare_inputs", "_generate_and_score_completions", "_generate", "_calculate_rewards",
    "_get_per_token_logps_and_entropies", "_compute_loss", "_get_train_sampler", "_init_training_state",
    "_prepare_for_training", "_load_from_checkpoint", "_issue_warnings_after_load", "_load_best_model", "_run_epoch",
    "_maybe_log_save_evaluate", "_save_checkpoint", "save_model", "create_model_card",
    "_save_optimizer_and_scheduler", "_save_rng_state", "_push_from_checkpoint", "_finish_current_push",
    "_finalize_training", "log",
)  # fmt: skip


@dataclass
class Call:
    """One call of a noted method."""

    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    step: int  # TRL's micro-batches before
    update: int
    has_grad: bool
    result: Any = None
    inside: list["Call"] = field(default_factory=list)

    def each(self, name):
        """The calls of one name within this one, in their order."""
        found = [self] if self.name == name else []
        return found + [call for inner in self.inside for call in inner.each(name)]


def noted(name):
    inherited = getattr(GRPOTrainer, name)

    @functools.wraps(inherited)
    def method(self, *args, **kwargs):
        call = Call(
            name,
            args,
            kwargs,
            getattr(self, "_step", 0),
            getattr(self.state, "global_step", 0),
            torch.is_grad_enabled(),
        )
        self.open[-1].inside.append(call)
        self.open.append(call)
        try:
            call.result = inherited(self, *args, **kwargs)
        finally:
            self.open.pop()
        return call.result

    return method


class Probe(GRPOTrainer):
    """`GRPOTrainer`, watched."""

    def __init__(self, *args, **kwargs):
        self.state = None
        self.open = [Call("all", (), {}, 0, 0, True)]
        super().__init__(*args, **kwargs)

    def calls(self, name):
        return self.open[0].each(name)


for each in NOTED:
    setattr(Probe, each, noted(each))


def normalized(rewards, size):
    """GRPO's advantages of rewards in groups of this size."""
    groups = rewards.view(-1, size)
    return ((groups - groups.mean(1, keepdim=True)) / (groups.std(1, keepdim=True) + 1e-4)).view(-1)


def pluses(completions, log_extra=None, **kwargs):
    """The share of "+" in a completion, which is also logged beside it."""
    shares = [text.count("+") / max(len(text), 1) for text in completions]
    log_extra("pluses", shares)
    return shares


def probe(folder, trainer_class=Probe, dataset=None, **changes):
    args = GRPOConfig(str(folder), **{**LAB_ARGS, **changes})
    return trainer_class(BASE_MODEL, pluses, args, train_dataset=dataset or countdown_dataset(64, seed=1))
