"""Reward functions as a trainer takes them: functions, models, or the names of models."""

import difflib
from pathlib import Path
from typing import Any

import torch
import trl.rewards
from trl import GRPOConfig

from .. import rewards
from .model_folder import read_config


def check_rewards(reward_funcs: Any, has_environment: bool, args: GRPOConfig) -> None:
    """
    Raise unless every reward function can be called, or names a model that is there.

    Args:
        reward_funcs (reward function, list of them, or `None`):
            As in `GRPOTrainer`.
        has_environment (`bool`):
            Whether an environment may give rewards of its own.
        args (`GRPOConfig`):
            Its `reward_weights` are one per function.

    Raises:
        ValueError: naming the one that is none.
    """
    functions = reward_funcs if isinstance(reward_funcs, list) else [] if reward_funcs is None else [reward_funcs]
    if not functions and not has_environment:
        raise ValueError("No reward source provided, as `reward_funcs` is empty: give at least one reward function")
    for function in functions:
        if isinstance(function, str):
            _check_name(function, args)
        elif isinstance(function, type) or not (callable(function) or isinstance(function, torch.nn.Module)):
            raise ValueError(
                f"`reward_funcs` must hold functions, models or their names, got {function!r}: give the function "
                "itself, or an object that can be called"
            )
    if args.reward_weights is not None and len(args.reward_weights) != len(functions):
        raise ValueError(
            f"the number of `reward_weights` ({len(args.reward_weights)}) must match number of reward functions "
            f"({len(functions)}): set one weight per function, or leave it out"
        )


def _check_name(name: str, args: GRPOConfig) -> None:
    """Raise where a text is a function's name, or no reward model's."""
    if not Path(name).is_dir() and "/" not in name:
        near = difflib.get_close_matches(name, _functions(), n=1)
        if near:
            raise ValueError(
                f"`reward_funcs` has the text {name!r}, and a text is the name or the folder of a reward model: give "
                f"the function itself, as `from {_functions()[near[0]]} import {near[0]}`"
            )
    revision = (args.model_init_kwargs or {}).get("revision")
    read_config("the reward model", name, revision, args.trust_remote_code)


def _functions() -> dict[str, str]:
    """Reward functions of TRL and of this package, with the module that they come from."""
    return {
        name: module.__name__
        for module in (trl.rewards, rewards)
        for name in dir(module)
        if not name.startswith("_") and callable(getattr(module, name))
    }
