"""The callbacks of a trainer: those that the user gave, and those that the configuration names."""

import contextlib
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
    """Return the user's callbacks and those that the blocks of the configuration name; the curriculum comes first."""
    if isinstance(given, TrainerCallback) or EntropyScheduler in given:
        raise ValueError(
            "`callbacks` must be a list of objects: give for example [EntropyScheduler(ConstantSchedule(0.4), "
            "PIDController(), EntropyBonusActuator())]"
        )
    callbacks = [callback() if isinstance(callback, type) else callback for callback in given]
    if args.method is not None and find_callback(callbacks, EntropyScheduler) is not None:
        raise ValueError(
            f"`method` must be unset with an EntropyScheduler in `callbacks`, got {args.method}: the run would not be "
            "what the method's name says, so keep one of them"
        )
    parts, stages = args.build_parts(), args.build_stages()
    if parts is not None:
        callbacks.insert(0, EntropyScheduler(*parts))
    if stages is not None or (args.dynamic_sampling_tries > 0 and find_callback(callbacks, Curriculum) is None):
        callbacks.append(Curriculum(stages or []))
    # what the others see is its stage's
    return sorted(callbacks, key=lambda callback: not isinstance(callback, Curriculum))


def with_prompts(
    callbacks: Sequence[TrainerCallback], args: ESGRPOConfig, datasets: Mapping[str, Dataset | None]
) -> list[TrainerCallback]:
    """
    Return the callbacks with a curriculum that has its data sets, in the place of one that only has stages.

    A data set is `None` where a plan cannot see it.
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
    """Let the rollout callbacks refuse what cannot work, and start afresh."""
    for kind, block in ((EntropyScheduler, "entropy_*"), (Curriculum, "curriculum")):
        if sum(isinstance(callback, kind) for callback in callbacks) > 1:
            raise ValueError(
                f"there are two of {kind.__name__}, which would set the same attributes: keep the {block} blocks "
                f"of the configuration or one {kind.__name__} in `callbacks`"
            )
    for callback in callbacks:
        if not isinstance(callback, RolloutCallback):
            continue
        callback.prepare(args)
        if callback.keeps_state and not isinstance(callback, EntropyScheduler | Curriculum):
            with contextlib.suppress(AttributeError):  # a state that only a rollout makes is looked at when it is saved
                checked_state(callback)
