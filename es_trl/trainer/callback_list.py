"""The callbacks of a trainer, from the user and from the configuration."""

import contextlib
import copy
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from datasets import Dataset
from transformers import TrainerCallback

from ..config.config import ESGRPOConfig
from ..control.checks import checked_state
from ..curriculum.staged_prompts import StagedPrompts
from .callbacks import Curriculum, EntropyScheduler, RolloutCallback


_Callback = TypeVar("_Callback", bound=TrainerCallback)


def find_callback(callbacks: Sequence[TrainerCallback], kind: type[_Callback]) -> _Callback | None:
    """Return the first callback of a kind, or `None`."""
    return next((callback for callback in callbacks if isinstance(callback, kind)), None)


def collect_callbacks(args: ESGRPOConfig, given: Sequence[Any]) -> list[TrainerCallback]:
    """Return the user's callbacks and those that the configuration asks for, with the curriculum first."""
    if isinstance(given, TrainerCallback) or EntropyScheduler in given:
        raise ValueError(
            f"`callbacks` must be a list of objects, got {given!r}: give for example "
            "[EntropyScheduler(ConstantSchedule(0.4), PIDController(), EntropyBonusActuator())]"
        )
    callbacks = [callback() if isinstance(callback, type) else callback for callback in given]
    if args.method is not None and find_callback(callbacks, EntropyScheduler) is not None:
        raise ValueError(
            f"`method` must be unset when `callbacks` has an EntropyScheduler, got {args.method}: keep only one of "
            "them, since the scheduler would replace the parts that the method stands for"
        )
    parts, stages = args.build_parts(), args.build_stages()
    if parts is not None:
        callbacks.insert(0, EntropyScheduler(*parts))
    if stages is not None or (args.chooses_prompts and find_callback(callbacks, Curriculum) is None):
        callbacks.append(Curriculum(stages or []))
    # the curriculum begins the stage, whose sizes the other callbacks must see
    return sorted(callbacks, key=lambda callback: not isinstance(callback, Curriculum))


def with_prompts(
    callbacks: Sequence[TrainerCallback], args: ESGRPOConfig, datasets: Mapping[str, Dataset | None]
) -> list[TrainerCallback]:
    """
    Return the callbacks, with the curriculum replaced by a copy that has the datasets of the run.

    A dataset is `None` where `plan` cannot read it.
    """
    scheduler = find_callback(callbacks, EntropyScheduler)
    schedule = None if scheduler is None else scheduler.loop.schedule
    return [
        each.with_prompts(StagedPrompts(each.stages, args, datasets, schedule))
        if isinstance(each, Curriculum)
        else each
        for each in callbacks
    ]


def prepare_callbacks(callbacks: Sequence[TrainerCallback], args: ESGRPOConfig) -> None:
    """Let every rollout callback check the configuration and return to its initial state."""
    for kind, block in ((EntropyScheduler, "entropy_*"), (Curriculum, "curriculum")):
        if (count := sum(isinstance(callback, kind) for callback in callbacks)) > 1:
            raise ValueError(
                f"the run has {count} {kind.__name__} callbacks, which would set the same attributes: keep either "
                f"{block} in the configuration or one {kind.__name__} in `callbacks`"
            )
    for callback in callbacks:
        if not isinstance(callback, RolloutCallback):
            continue
        callback.prepare(args)
        if callback.keeps_state and not isinstance(callback, EntropyScheduler | Curriculum):
            with contextlib.suppress(AttributeError):  # a state that only a rollout creates is checked at the save
                checked_state(callback)
    _check_stages(callbacks, args)


def _check_stages(callbacks: Sequence[TrainerCallback], args: ESGRPOConfig) -> None:
    """Raise unless the actuators can work in every stage of the curriculum."""
    scheduler, curriculum = find_callback(callbacks, EntropyScheduler), find_callback(callbacks, Curriculum)
    if scheduler is None or curriculum is None:
        return
    for stage in curriculum.prompts.planned:
        own = copy.copy(args)
        own.num_generations, own.overlong_cache = stage.num_generations, stage.overlong_cache
        for actuator in scheduler.loop.actuators:
            try:
                actuator.check(own)
            except ValueError as error:
                raise ValueError(f"stage {stage.index} of the curriculum: {error}") from None
