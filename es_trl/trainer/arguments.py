"""The arguments of `ESGRPOTrainer`, checked before the model loads and turned into arguments of `GRPOTrainer`."""

import inspect
from dataclasses import dataclass
from typing import Any

from transformers import TrainerCallback
from trl import GRPOConfig, GRPOTrainer
from trl.trainer.utils import get_config_model_id

from ..config.config import ESGRPOConfig
from ..config.field_checks import check_fields
from ..config.sizes import check_pass_at_k
from ..curriculum.datasets import check_dataset, check_replaceable, named_datasets
from ..hub.repository import prepare_push
from .callback_list import collect_callbacks, find_callback, prepare_callbacks, with_prompts
from .callbacks import Curriculum
from .inputs import check_inputs
from .launch import check_launch
from .overlong import add_punishment


BEHIND_EVAL_DATASET = list(inspect.signature(GRPOTrainer).parameters)[5:]


@dataclass(frozen=True)
class Arguments:
    """
    The arguments of `GRPOTrainer`, with two facts about the run that `GRPOTrainer` does not know.

    Args:
        reward_funcs, args, train_dataset, callbacks:
            As in `GRPOTrainer`.
        others (`dict[str, Any]`):
            All other arguments of `GRPOTrainer`, by their names.
        punishes (`bool`):
            Whether the last reward function is the soft overlong punishment.
        first_length (`int` or `None`):
            Longest completion of the first stage, tokens; `None` for no limit.
    """

    reward_funcs: Any
    args: ESGRPOConfig
    train_dataset: Any
    callbacks: list[TrainerCallback]
    others: dict[str, Any]
    punishes: bool
    first_length: int | None


def complete(
    model: Any, reward_funcs: Any, args: Any, train_dataset: Any, eval_dataset: Any, others: dict[str, Any]
) -> Arguments:
    """Return the arguments for `GRPOTrainer`, or raise; this function takes those of [`ESGRPOTrainer`]."""
    args = configuration(args, model)
    check_launch(args)
    check_fields(args)
    check_pass_at_k(args)
    others = dict(others)
    callbacks = collect_callbacks(args, others.pop("callbacks", None) or [])
    has_environment = bool(others.get("environment_factory"))
    caches, length = [args.overlong_cache], args.max_completion_length
    if find_callback(callbacks, Curriculum) is None:
        check_dataset(train_dataset, has_environment)
    else:
        datasets = named_datasets(train_dataset, has_environment)
        callbacks = with_prompts(callbacks, args, datasets)
        planned = find_callback(callbacks, Curriculum).prompts.planned
        caches, length = [stage.overlong_cache for stage in planned], planned[0].max_completion_length
        train_dataset = datasets[next(iter(planned[0].data))]
        if args.chooses_prompts:
            check_replaceable(datasets, others)
    prepare_callbacks(callbacks, args)
    classes = others.pop("reward_processing_classes", None)
    reward_funcs, args, classes = add_punishment(reward_funcs, args, classes, length, caches)
    vars(args).update(prepare_push(args))
    others["reward_processing_classes"] = classes
    check_inputs(model, reward_funcs, args, (train_dataset, eval_dataset), others)
    return Arguments(reward_funcs, args, train_dataset, callbacks, others, any(caches), length)


def by_name(more: tuple[Any, ...], named: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments after `eval_dataset` by name; `more` are those by position, `named` those by name."""
    if len(more) > len(BEHIND_EVAL_DATASET):
        most = len(BEHIND_EVAL_DATASET) + 5
        raise TypeError(
            f"ESGRPOTrainer takes at most {most} positional arguments, got {len(more) + 5}: give the others by name"
        )
    placed = dict(zip(BEHIND_EVAL_DATASET, more, strict=False))
    if twice := sorted(placed.keys() & named.keys()):
        raise TypeError(f"ESGRPOTrainer got {', '.join(twice)} both by position and by name: give each argument once")
    return {**named, **placed}


def configuration(args: Any, model: Any) -> ESGRPOConfig:
    """Return `args`; for `None`, a default configuration whose folder has the model's name, as in TRL."""
    if args is None:
        name = model if isinstance(model, str) else get_config_model_id(model.config)
        return ESGRPOConfig(f"{name.split('/')[-1]}-ES-GRPO")
    if not isinstance(args, ESGRPOConfig):
        advice = "give ESGRPOConfig(output_dir, ...)"
        if isinstance(args, GRPOConfig):
            advice = "give an ESGRPOConfig, which has the same fields and trains the same unless its own ones are set"
        raise ValueError(f"`args` must be an ESGRPOConfig, got {type(args).__name__}: {advice}")
    return args
