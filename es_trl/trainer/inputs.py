"""Checks of a trainer's model, rewards, datasets and settings, made before the weights load."""

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
import trl.rewards
from datasets import Dataset, IterableDataset
from trl.data_utils import is_conversational
from trl.import_utils import is_vllm_available

from .. import rewards
from ..checkpoints.run_folder import enter_run_folder
from ..common.nearest import nearest
from ..config.config import ESGRPOConfig
from ..config.field_checks import check_optimizer, check_trackers
from ..control.base import Actuator, ActuatorArgs
from ..control.checks import checked_settings
from .evaluation import count_problems
from .model_folder import check_model, read_config


def check_inputs(
    model: Any, reward_funcs: Any, args: ESGRPOConfig, datasets: tuple[Any, Any], kwargs: dict[str, Any]
) -> None:
    """
    Raise unless TRL can build its trainer from the arguments and the run folder can be written.

    Args:
        model, reward_funcs, args, kwargs:
            As in `GRPOTrainer`. `args.output_dir` is made absolute.
        datasets (`tuple`):
            The training and the evaluation dataset.
    """
    has_environment = kwargs.get("environment_factory") is not None
    if args.use_vllm and not is_vllm_available():
        raise ValueError("`use_vllm` is true but vLLM is not installed: install vLLM, or set use_vllm: false")
    _check_datasets(*datasets, has_environment, args)
    check_rewards(reward_funcs, has_environment, args)
    check_trackers(args)
    if not any(kwargs.get("optimizers") or ()):
        check_optimizer(args)
    given = (*datasets, *(datasets[1].values() if isinstance(datasets[1], dict) else ()))
    has_chats = any(isinstance(dataset, Dataset) and _has_chats(dataset) for dataset in given)
    check_model(model, kwargs.get("processing_class"), has_chats, args)
    enter_run_folder(args)


def check_settings(actuators: Iterable[Actuator], trainer: Any, args: ActuatorArgs) -> None:
    """Raise unless every setting of the actuators is an attribute of the trainer or is read by its actuator."""
    for actuator in actuators:
        if isinstance(actuator, Actuator) and actuator.reads_settings:
            continue
        for control in (actuator.initial(args), actuator.low, actuator.high):
            for setting in checked_settings(actuator, control, args):
                if not hasattr(trainer, setting):
                    raise ValueError(
                        f"{type(actuator).__name__}.settings must name attributes of {type(trainer).__name__}, got "
                        f"{setting!r}{nearest(str(setting), vars(trainer))}: change the name"
                    )


def check_names(settings: dict[str, float], trainer: Any) -> None:
    """Raise unless every setting of a callback's decision names a `float` of the trainer."""
    for name in settings:
        if not isinstance(getattr(trainer, name, None), float):
            raise ValueError(
                f"`settings` of a Decision must name float attributes of {type(trainer).__name__}, got {name!r}"
                f"{nearest(name, vars(trainer))}: change the name"
            )


def check_rewards(reward_funcs: Any, has_environment: bool, args: ESGRPOConfig) -> None:
    """Raise unless every reward function is callable or names a model, and there is one weight per function."""
    functions = reward_funcs if isinstance(reward_funcs, list) else [] if reward_funcs is None else [reward_funcs]
    if not functions and not has_environment:
        # the first words of this and other messages below are TRL's, so that its own tests pass
        raise ValueError("No reward source provided: give at least one reward function in `reward_funcs`")
    for function in functions:
        if isinstance(function, str):
            _check_reward_model(function, args)
        elif isinstance(function, type) or not (callable(function) or isinstance(function, torch.nn.Module)):
            raise ValueError(
                f"`reward_funcs` must hold functions, reward models or names of reward models, got {function!r}: give "
                "the function itself, or an object that can be called"
            )
    if args.reward_weights is not None and len(args.reward_weights) != len(functions):
        raise ValueError(
            f"the number of `reward_weights` ({len(args.reward_weights)}) must match number of reward functions "
            f"({len(functions)}): set one weight per function, or leave `reward_weights` out"
        )


def _check_reward_model(name: str, args: ESGRPOConfig) -> None:
    """Raise where the text `name` is the name of a known function, or is not the name of a reward model."""
    if not Path(name).is_dir() and "/" not in name:
        known = {
            each: module.__name__
            for module in (trl.rewards, rewards)
            for each in dir(module)
            if not each.startswith("_") and callable(getattr(module, each))
        }
        if near := difflib.get_close_matches(name, known, n=1):
            raise ValueError(
                f"`reward_funcs` has the text {name!r}, but a text must be the name or the folder of a reward model: "
                f"give the function itself, as `from {known[near[0]]} import {near[0]}`"
            )
    read_config("the reward model", name, (args.model_init_kwargs or {}).get("revision"), args.trust_remote_code)


def _check_datasets(train: Any, evaluation: Any, has_environment: bool, args: ESGRPOConfig) -> None:
    if train is None and not has_environment:
        raise ValueError("`train_dataset` is required, got None: give a dataset with a column `prompt`")
    if train is not None and not isinstance(train, Dataset | IterableDataset):
        kind = type(train).__name__
        raise ValueError(f"`train_dataset` must be a `Dataset` or `IterableDataset`, got `{kind}`: give one of them")
    dispatches = args.accelerator_config.dispatch_batches  # TRL refuses it with an error of its own
    if isinstance(train, IterableDataset) and args.max_steps <= 0 and not dispatches:
        raise ValueError(
            f"`max_steps` must be > 0 when `train_dataset` is a stream, got {args.max_steps}: set it to the number of "
            "updates"
        )
    strategy = getattr(args.eval_strategy, "value", args.eval_strategy)
    if strategy != "no" and evaluation is None:
        raise ValueError(
            f"`eval_strategy` is {strategy!r} but the trainer has no `eval_dataset`: give one, or set eval_strategy: no"
        )
    if args.eval_pass_at_k is not None and evaluation is None:
        raise ValueError(
            f"`eval_pass_at_k` is {args.eval_pass_at_k} but the trainer has no `eval_dataset`: give one, or leave "
            "eval_pass_at_k out"
        )
    if args.eval_pass_at_k is not None:
        for dataset in evaluation.values() if isinstance(evaluation, dict) else (evaluation,):
            count_problems(dataset)
        _check_best(args, evaluation)


def _check_best(args: ESGRPOConfig, evaluation: Any) -> None:
    """Raise where the metric of the best model is a pass@k that the evaluations do not report."""
    metric = (args.metric_for_best_model or "").removeprefix("eval_")
    if "pass@" not in metric:
        return
    of = [f"{name}_" for name in evaluation] if isinstance(evaluation, dict) else [""]
    reported = [f"{prefix}pass@{k}" for prefix in of for k in args.eval_pass_at_k]
    if metric not in reported:
        raise ValueError(
            f"`metric_for_best_model` must be one of {', '.join(reported)}, which the evaluations report, got "
            f"{args.metric_for_best_model!r}: set one of them"
        )


def _has_chats(dataset: Dataset) -> bool:
    return len(dataset) > 0 and "prompt" in dataset.column_names and is_conversational({"prompt": dataset[0]["prompt"]})
