"""Range and choice checks for the fields that TRL and transformers would reject only during training."""

import json
import math
import operator
from collections.abc import Sequence
from dataclasses import fields
from enum import Enum
from numbers import Real
from typing import Any, get_type_hints

import torch
from transformers import Trainer, TrainingArguments, get_scheduler
from transformers.integrations.integration_utils import (
    INTEGRATION_TO_CALLBACK,
    get_available_reporting_integrations,
)
from transformers.utils import is_liger_kernel_available, logging

from ..actuators.checks import LOSSES
from ..common.nearest import nearest
from .values import kinds_of, members_of


# Ranges and the fields that have them. Numbers must be finite, and whole in a field of type int.
_RANGES = {
    "": "max_grad_norm num_train_epochs max_steps entropy_coef",
    "> 0": "temperature repetition_penalty delta",
    ">= 0": "top_k learning_rate weight_decay adam_epsilon neftune_noise_alpha beta epsilon epsilon_high "
    "entropy_target entropy_coef_delta entropy_coef_min entropy_coef_max dataloader_num_workers",
    ">= 1": "ref_model_sync_steps num_generations_eval per_device_eval_batch_size vllm_tensor_parallel_size "
    "max_tokens_per_micro_batch",
    "> 0 and <= 1": "top_p vllm_gpu_memory_utilization",
    ">= 0 and <= 1": "min_p top_entropy_quantile ref_model_mixup_alpha",
    ">= 0 and < 1": "adam_beta1 adam_beta2",
    ">= 0 and <= 4294967295": "seed data_seed",
}
RANGES = {name: allowed for allowed, names in _RANGES.items() for name in names.split()}
_SIGNS = {">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le}
# Values outside the range by which TRL or vLLM turn a feature off
_NONE: dict[str, tuple[Any, ...]] = {"top_k": (None, -1), "epsilon_high": (math.inf,), "delta": (math.inf,)}
MAPPINGS = (
    *("model_init_kwargs", "generation_kwargs", "chat_template_kwargs"),
    *("gradient_checkpointing_kwargs", "lr_scheduler_kwargs"),
)
LEVELS = (*logging.get_log_levels_dict(), "passive")
_NEED_THE_MODEL = ("galore", "apollo", "lomo", "adalomo")
CHOICES = {
    "log_level": LEVELS,
    "log_level_replica": LEVELS,
    "loss_type": LOSSES,
    "entropy_sensor": ("rollout", "update"),
    "mask_uniform_prompts": (True, False),
    "resume_with_changes": (True, False),
    "micro_batches": ("tokens", "completions"),
    "importance_sampling_level": ("token", "sequence"),
    "multi_objective_aggregation": ("sum_then_normalize", "normalize_then_sum"),
    "scale_rewards": ("group", "batch", "none", True, False),
    "vllm_mode": ("colocate", "server"),
    "vllm_importance_sampling_mode": ("token_truncate", "token_mask", "sequence_truncate", "sequence_mask"),
}


def check_fields(args: TrainingArguments) -> None:
    """
    Raise unless every field is in its range or among its choices.

    It works before and after the `__post_init__` of `args`.

    Args:
        args (`TrainingArguments`):
            The configuration.

    Raises:
        ValueError: if a field has a wrong value. The message says what to set.
    """
    kinds = {name: kinds_of(hint) for name, hint in get_type_hints(type(args)).items()}
    for field in fields(args):
        name, value = field.name, getattr(args, field.name, field.default)
        members = [value for kind in kinds[name] for value in members_of(kind)]
        if members or name in CHOICES:
            _check_choice(name, value, CHOICES.get(name) or members)
        is_none = value in _NONE.get(name, ()) or (value is None and field.default is None)
        if name in RANGES and not is_none:
            _check_number(name, value, RANGES[name], int in kinds[name], field.default)
    for kind in ("logging", "save", "eval"):
        steps = getattr(args, f"{kind}_steps")
        is_used = getattr(args, f"{kind}_strategy") == "steps" and steps is not None
        if is_used and not _holds(steps, "> 0"):
            raise ValueError(
                f"`{kind}_steps` must be a finite number > 0, got {steps!r}: set the number of updates between "
                f"two, or {kind}_strategy: no"
            )
    weights = args.reward_weights
    if weights is not None and not (isinstance(weights, list | tuple) and all(_holds(w, "") for w in weights)):
        raise ValueError(
            f"`reward_weights` must be a list of finite numbers, got {weights!r}: set one per reward function"
        )
    _check_pairs(args)
    for name in MAPPINGS:
        _check_mapping(name, getattr(args, name))
    for tracker in _trackers(args):
        _check_choice("report_to", tracker, (*INTEGRATION_TO_CALLBACK, "all", "none"))


def _check_pairs(args: TrainingArguments) -> None:
    """Raise if a field is set without the other field that it needs, or if two bounds are in the wrong order."""
    if args.entropy_coef_min > args.entropy_coef_max:
        raise ValueError(
            f"`entropy_coef_min` must be at most entropy_coef_max, got {args.entropy_coef_min} and "
            f"{args.entropy_coef_max}: set a lower one"
        )
    if args.sync_ref_model and args.beta == 0.0:
        raise ValueError(
            "`sync_ref_model` is true but `beta` is 0, so the run has no reference model: set beta above 0, or "
            "sync_ref_model: false"
        )
    if getattr(args.save_strategy, "value", args.save_strategy) == "best" and args.metric_for_best_model is None:
        raise ValueError("`save_strategy` is best but `metric_for_best_model` is not set: set it to a metric")


def check_kernels(args: TrainingArguments) -> None:
    """Raise unless the kernels that training uses are installed. A trainer that only evaluates needs none."""
    if args.use_liger_kernel and not is_liger_kernel_available():
        raise ValueError("`use_liger_kernel` is true but liger-kernel is not installed: install it, or set it to false")


def check_optimizer(args: TrainingArguments) -> None:
    """
    Raise unless the optimizer and the learning rate scheduler can be built. It builds both for a single weight.

    Args:
        args (`TrainingArguments`):
            The configuration.

    Raises:
        ValueError: if one cannot be built. The message quotes torch or transformers.
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
            f"{getattr(args.lr_scheduler_type, 'value', args.lr_scheduler_type)} cannot be built ({reason}): change "
            "optim, optim_args, adam_*, lr_scheduler_type or lr_scheduler_kwargs so that they fit together"
        ) from error


def check_trackers(args: TrainingArguments) -> None:
    """Raise unless the trackers that `report_to` names are installed."""
    missing = set(_trackers(args)) - {*get_available_reporting_integrations(), "all", "none"}
    if missing:
        names = ", ".join(sorted(missing))
        raise ValueError(f"`report_to` names {names}, which is not installed: install it, or set report_to: none")


def _check_mapping(name: str, value: Any) -> None:
    """Raise unless `value` is a mapping, or its JSON text from a command line."""
    try:
        is_mapping = value is None or isinstance(value if isinstance(value, dict) else json.loads(value), dict)
    except (ValueError, TypeError):
        is_mapping = False
    if not is_mapping:
        raise ValueError(f"`{name}` must be a mapping, got {value!r}: set for example " + '{"key": 1}')


def _trackers(args: TrainingArguments) -> list[Any]:
    named = args.report_to
    return list(named) if isinstance(named, list | tuple) else [] if named is None else [named]


def _check_choice(name: str, value: Any, allowed: Sequence[Any]) -> None:
    value = value.value if isinstance(value, Enum) else value
    if not isinstance(value, str | bool) or value not in allowed:
        words = [choice for choice in allowed if isinstance(choice, str)]
        advice = nearest(str(value), words).removeprefix(", ") or "set one of them"
        raise ValueError(f"`{name}` must be one of {', '.join(words)}, got {value!r}: {advice}")


def _holds(value: Any, allowed: str, whole: bool = False) -> bool:
    """Return whether `value` is a finite number in the range `allowed`, and a whole number if `whole`."""
    if isinstance(value, bool) or not isinstance(value, Real) or not -math.inf < value < math.inf:
        return False
    conditions = [condition.split() for condition in allowed.split(" and ") if condition]
    return all(_SIGNS[sign](value, float(end)) for sign, end in conditions) and not (whole and value != int(value))


def _check_number(name: str, value: Any, allowed: str, whole: bool, default: Any) -> None:
    """Raise unless `value` is such a number. The message advises the default if that is such a number."""
    if not _holds(value, allowed, whole):
        advice = "it to such a number, or leave it out"
        if _holds(default, allowed, whole):
            advice = f"it to {default:g}, which is the default"
        must = f"{'a whole number' if whole else 'a finite number'} {allowed}".strip()
        raise ValueError(f"`{name}` must be {must}, got {value!r}: set {advice}")
