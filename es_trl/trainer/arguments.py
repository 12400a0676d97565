"""What a trainer is called with, as `GRPOTrainer` takes it."""

import inspect
from typing import Any

from trl import GRPOConfig, GRPOTrainer
from trl.trainer.utils import get_config_model_id

from ..config.config import ESGRPOConfig


BEHIND_EVAL_DATASET = list(inspect.signature(GRPOTrainer).parameters)[5:]


def by_name(more: tuple[Any, ...], named: dict[str, Any]) -> dict[str, Any]:
    """
    Arguments behind `eval_dataset` by their names, whether they were given by position or by name.

    Raises:
        TypeError: where one is given twice, or there are more than `GRPOTrainer` takes.
    """
    if len(more) > len(BEHIND_EVAL_DATASET):
        most = len(BEHIND_EVAL_DATASET) + 5
        raise TypeError(f"ESGRPOTrainer takes at most {most} positional arguments, got {len(more) + 5}")
    placed = dict(zip(BEHIND_EVAL_DATASET, more, strict=False))
    if twice := sorted(placed.keys() & named.keys()):
        raise TypeError(f"ESGRPOTrainer got {', '.join(twice)} by position and by name: give it once")
    return {**named, **placed}


def configuration(args: Any, model: Any) -> GRPOConfig:
    """
    The configuration of a trainer; without one, the defaults in a folder per model, as in TRL.

    Raises:
        ValueError: for what is not a `GRPOConfig`.
    """
    if args is None:
        name = model if isinstance(model, str) else get_config_model_id(model.config)
        return ESGRPOConfig(f"{name.split('/')[-1]}-ES-GRPO")
    if not isinstance(args, GRPOConfig):
        raise ValueError(
            f"`args` must be an ESGRPOConfig, got {type(args).__name__}: give ESGRPOConfig(output_dir, ...)"
        )
    return args
