"""What the fields of TRL's configuration may be, where TRL or transformers would find it out only while they train."""

import json
import math
from dataclasses import dataclass, fields
from enum import Enum
from numbers import Real
from typing import Any, get_args, get_type_hints

import torch
from transformers import Trainer, TrainingArguments, get_scheduler
from transformers.integrations.integration_utils import (
    INTEGRATION_TO_CALLBACK,
    get_available_reporting_integrations,
)
from transformers.utils import is_liger_kernel_available, logging

from ..actuators.checks import LOSSES
from ..common.nearest import nearest


@dataclass(frozen=True)
class Range:
    """
    Numbers from `low` to `high`.

    Args:
        low (`float`), high (`float`):
            The ends; infinite where there is none.
        above (`bool`), below (`bool`):
            Whether `low`, or `high`, itself is left out.
        whole (`bool`):
            Whether only whole numbers count.
    """

    low: float = -math.inf
    high: float = math.inf
    above: bool = False
    below: bool = False
    whole: bool = False

    def holds(self, value: Any) -> bool:
        """Whether `value` is such a number; NaN and infinity are none."""
        if isinstance(value, bool) or not isinstance(value, Real) or not -math.inf < value < math.inf:
            return False
        enough = value > self.low if self.above else value >= self.low
        little_enough = value < self.high if self.below else value <= self.high
        return enough and little_enough and not (self.whole and value != int(value))

    def __str__(self) -> str:
        ends = [f"{'>' if self.above else '>='} {self.low:.10g}"] if self.low > -math.inf else []
        ends += [f"{'<' if self.below else '<='} {self.high:.10g}"] if self.high < math.inf else []
        return " ".join(["a whole number" if self.whole else "a finite number", " and ".join(ends)]).strip()


ABOVE_0, FROM_0, SHARE, COUNT = Range(0, above=True), Range(0), Range(0, 1), Range(1, whole=True)
RANGES = {
    "temperature": ABOVE_0,
    "top_p": Range(0, 1, above=True),
    "min_p": SHARE,
    "top_k": Range(0, whole=True),
    "repetition_penalty": ABOVE_0,
    "learning_rate": FROM_0,
    "weight_decay": FROM_0,
    "adam_beta1": Range(0, 1, below=True),
    "adam_beta2": Range(0, 1, below=True),
    "adam_epsilon": FROM_0,
    "max_grad_norm": Range(),
    "neftune_noise_alpha": FROM_0,
    "num_train_epochs": Range(),
    "max_steps": Range(whole=True),
    "seed": Range(0, 2**32 - 1, whole=True),
    "data_seed": Range(0, 2**32 - 1, whole=True),
    "beta": FROM_0,
    "epsilon": FROM_0,
    "epsilon_high": FROM_0,
    "delta": ABOVE_0,
    "entropy_coef": Range(),
    "entropy_target": FROM_0,
    "top_entropy_quantile": SHARE,
    "ref_model_mixup_alpha": SHARE,
    "ref_model_sync_steps": COUNT,
    "num_generations_eval": COUNT,
    "per_device_eval_batch_size": COUNT,
    "dataloader_num_workers": Range(0, whole=True),
    "vllm_gpu_memory_utilization": Range(0, 1, above=True),
    "vllm_tensor_parallel_size": COUNT,
}
# other values, by which TRL or vLLM leave a thing out
_NONE: dict[str, tuple[Any, ...]] = {"top_k": (None, -1), "epsilon_high": (math.inf,), "delta": (math.inf,)}
MAPPINGS = (
    "model_init_kwargs",
    "generation_kwargs",
    "chat_template_kwargs",
    "gradient_checkpointing_kwargs",
    "lr_scheduler_kwargs",
)
LEVELS = (*logging.get_log_levels_dict(), "passive")
_NEED_THE_MODEL = ("galore", "apollo", "lomo", "adalomo")
CHOICES = {
    "log_level": LEVELS,
    "log_level_replica": LEVELS,
    "loss_type": LOSSES,
    "importance_sampling_level": ("token", "sequence"),
    "multi_objective_aggregation": ("sum_then_normalize", "normalize_then_sum"),
    "scale_rewards": ("group", "batch", "none", True, False),
    "vllm_mode": ("colocate", "server"),
    "vllm_importance_sampling_mode": ("token_truncate", "token_mask", "sequence_truncate", "sequence_mask"),
}


def check_fields(args: TrainingArguments) -> None:
    """
    Raise unless every field is in its range or among its choices; before and after the `__post_init__` of `args`.

    Raises:
        ValueError: naming the field, what it must be and what to set.
    """
    defaults = {field.name: field.default for field in fields(args)}
    for name, allowed in RANGES.items():
        value = getattr(args, name, defaults.get(name))
        optional = value is None and defaults.get(name) is None
        is_none = _NONE.get(name, ())
        if name in defaults and not optional and value not in is_none and not allowed.holds(value):
            raise ValueError(f"`{name}` must be {allowed}, got {value!r}: set {_example(defaults[name], allowed)}")
    for name, allowed in {**_enumerations(type(args)), **CHOICES}.items():
        if name in defaults:
            _check_choice(name, getattr(args, name), allowed)
    for kind in ("logging", "save", "eval"):
        steps = getattr(args, f"{kind}_steps")
        is_used = getattr(args, f"{kind}_strategy") == "steps" and steps is not None
        if is_used and not ABOVE_0.holds(steps):
            raise ValueError(
                f"`{kind}_steps` must be a finite number > 0, got {steps!r}: set how many updates lie between two, or "
                f"{kind}_strategy: no"
            )
    weights = args.reward_weights
    if weights is not None and not (isinstance(weights, list | tuple) and all(Range().holds(w) for w in weights)):
        raise ValueError(f"`reward_weights` must be a list of finite numbers, got {weights!r}: set one per function")
    _check_pairs(args)
    for name in MAPPINGS:
        _check_mapping(name, getattr(args, name, None))
    for tracker in _trackers(args):
        _check_choice("report_to", tracker, (*INTEGRATION_TO_CALLBACK, "all", "none"))


def _check_pairs(args: TrainingArguments) -> None:
    """Raise where a field needs another one that is not there."""
    if getattr(args, "sync_ref_model", False) and args.beta == 0.0:
        raise ValueError(
            "`sync_ref_model` is true and `beta` is 0, so there is no reference model: set beta above 0, or "
            "sync_ref_model: false"
        )
    if getattr(args.save_strategy, "value", args.save_strategy) == "best" and args.metric_for_best_model is None:
        raise ValueError("`save_strategy` is best, and there is no metric: set `metric_for_best_model`")


def check_kernels(args: TrainingArguments) -> None:
    """Raise unless the kernels that a training takes are installed; a trainer that only evaluates needs none."""
    if args.use_liger_kernel and not is_liger_kernel_available():
        raise ValueError("`use_liger_kernel` is true, and liger-kernel is not installed: install it, or set false")


def check_optimizer(args: TrainingArguments) -> None:
    """
    Raise unless the optimizer and the curve of the learning rate can be made, which is tried with a single number.

    Raises:
        ValueError: with the words of torch or transformers.
    """
    if str(getattr(args.optim, "value", args.optim)).startswith(_NEED_THE_MODEL):
        return
    weight = torch.nn.Parameter(torch.zeros(1))
    try:
        kind, options = Trainer.get_optimizer_cls_and_kwargs(args)
        made = kind([weight], **options) if kind.__module__.startswith("torch.") else torch.optim.SGD([weight], 0.1)
        get_scheduler(args.lr_scheduler_type, made, 1, 10, scheduler_specific_kwargs=args.lr_scheduler_kwargs)
    except (ValueError, TypeError, ImportError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise ValueError(
            f"`optim` {getattr(args.optim, 'value', args.optim)} with lr_scheduler_type "
            f"{getattr(args.lr_scheduler_type, 'value', args.lr_scheduler_type)} cannot be made ({reason}): set optim, "
            "optim_args, adam_*, lr_scheduler_type and lr_scheduler_kwargs to what goes together"
        ) from error


def check_trackers(args: TrainingArguments) -> None:
    """Raise unless the trackers that `report_to` names are installed."""
    missing = set(_trackers(args)) - {*get_available_reporting_integrations(), "all", "none"}
    if missing:
        names = ", ".join(sorted(missing))
        raise ValueError(f"`report_to` names {names}, which is not installed: install it, or set report_to: none")


def _check_mapping(name: str, value: Any) -> None:
    """Raise unless `value` is a mapping, or the JSON of one as a command line gives it."""
    if value is None or isinstance(value, dict):
        return
    try:
        is_mapping = isinstance(json.loads(value), dict)
    except (ValueError, TypeError):
        is_mapping = False
    if not is_mapping:
        raise ValueError(f"`{name}` must be a mapping, got {value!r}: set for example " + '{"key": 1}')


def _trackers(args: TrainingArguments) -> list[Any]:
    named = args.report_to
    return list(named) if isinstance(named, list | tuple) else [] if named is None else [named]


def _enumerations(kind: type) -> dict[str, tuple[str, ...]]:
    """The fields of a configuration class that are members of an enumeration, with their values."""
    found = {}
    for name, hint in get_type_hints(kind).items():
        for part in get_args(hint):
            if isinstance(part, type) and issubclass(part, Enum):
                found[name] = tuple(member.value for member in part)
    return found


def _check_choice(name: str, value: Any, allowed: tuple[Any, ...]) -> None:
    value = value.value if isinstance(value, Enum) else value
    if not isinstance(value, str | bool) or value not in allowed:
        words = [choice for choice in allowed if isinstance(choice, str)]
        advice = nearest(str(value), words).removeprefix(", ") or "set one of them"
        raise ValueError(f"`{name}` must be one of {', '.join(words)}, got {value!r}: {advice}")


def _example(default: Any, allowed: Range) -> str:
    """A value to set: the default, where it is one."""
    if allowed.holds(default):
        return f"it to {default:g}, which is the default"
    return "it to such a number, or leave it out"
