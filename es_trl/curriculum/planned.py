"""The stages of a particular run, each with all its sizes. This module imports neither torch nor TRL."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..control.geometry import Geometry, GeometryArgs
from ..control.schedules import progress_at
from .stages import BASE_DATA, Stage, check_cache, check_early


# generation_kwargs that would count more than a field of the stages
_FIXED = {
    "max_new_tokens": "max_completion_length",
    "max_tokens": "max_completion_length",
    "temperature": "temperature",
}


@dataclass(frozen=True)
class PlannedStage:
    """A stage of a particular run with all its values, also those that stay as in the stage before."""

    index: int
    first: int  # first rollout
    data: dict[str, float]  # share of the prompts that each dataset gives, by name
    prompts: int  # per rollout, over all processes
    num_generations: int
    completions: int  # per rollout, over all processes
    max_completion_length: int | None  # `None` if the generation's own limit holds, in every stage or in none
    overlong_cache: int
    temperature: float
    # Number of backward passes into which a micro-batch is split, so that none holds more completions than the
    # configuration's micro-batch.
    parts: int

    @property
    def tokens(self) -> int:
        """The largest number of completion tokens per rollout."""
        return self.completions * self.max_completion_length

    def changes_from(self, before: "PlannedStage") -> str:
        """Return the changes since the stage `before` as text for people."""
        names = ("data", "prompts", "num_generations", "max_completion_length", "overlong_cache", "temperature")
        rows = [(name, getattr(before, name), getattr(self, name)) for name in names]
        changes = [f"{name} {as_text(old)} -> {as_text(new)}" for name, old, new in rows if old != new]
        return ", ".join(changes) or "nothing"


def plan_stages(
    stages: Sequence[Stage], args: GeometryArgs, num_rollouts: int | None, onset: int | None, names: Collection[str]
) -> list[PlannedStage]:
    """
    Return the stages of a run, the first of which starts at rollout 0.

    Args:
        stages (sequence of `Stage`):
            The curriculum; it may be empty.
        args (`GeometryArgs`):
            The configuration, whose values hold before the first stage of the curriculum.
        num_rollouts (`int`, *optional*):
            Rollouts in the run; `None` if the number is not known.
        onset (`int`, *optional*):
            First rollout of the anneal phase; `None` if the schedule has none.
        names (collection of `str`):
            Names of the datasets.

    Returns:
        `list[PlannedStage]`: the stages in their order.

    Raises:
        ValueError: if a stage is impossible in this run.
    """
    if stages and args.max_completion_length is None:
        raise ValueError("`max_completion_length` must be set with a curriculum, got None: set it")
    if stages and num_rollouts is None:
        raise ValueError("the length of the run must be known with a curriculum, got epochs: set max_steps")
    geometry = Geometry.of(args)
    sizes = ("prompts", "num_generations", "completions", "max_completion_length")
    own = {name: getattr(geometry, name) for name in sizes}
    kept = {"overlong_cache": args.overlong_cache, "temperature": args.temperature}
    start = PlannedStage(0, 0, {BASE_DATA: 1.0}, **own, **kept, parts=1)
    planned = [start]
    for number, stage in enumerate(stages, start=1):
        first = _first_rollout(stage, number, num_rollouts, onset)
        if first == 0 and number == 1:
            planned.clear()
        elif planned and first <= planned[-1].first:
            raise ValueError(
                f"entry {number} of the curriculum must start after rollout {planned[-1].first} of {num_rollouts}, "
                f"where the entry before it starts, got rollout {first}: put the stages in their order and their "
                "starts farther apart, or raise max_steps"
            )
        try:
            planned.append(_follow(planned[-1] if planned else start, stage, len(planned), first, args))
        except ValueError as error:
            raise ValueError(f"entry {number} of the curriculum: {error}") from None
    _check(planned, names, args)
    return planned


def stage_of(planned: Sequence[PlannedStage], rollout: int) -> PlannedStage:
    """Return the stage of a rollout."""
    return next(stage for stage in reversed(planned) if stage.first <= rollout)


def as_text(value: Any) -> str:
    """Return a number, or names with their shares, as text for people."""
    if not isinstance(value, dict):
        return str(value)
    return " + ".join(name if share == 1.0 else f"{share:.0%} {name}" for name, share in value.items())


def _first_rollout(stage: Stage, number: int, num_rollouts: int, onset: int | None) -> int:
    if stage.start == "onset":
        first, advice = onset, "set `entropy_schedule` to one that anneals (stable_anneal), or `start` to a number"
    else:
        begun = (rollout for rollout in range(num_rollouts) if progress_at(rollout, num_rollouts) >= stage.start)
        first, advice = next(begun, None), "raise max_steps"
    if first is None:
        raise ValueError(
            f"entry {number} of the curriculum starts at {stage.start}, which no rollout from 0 to {num_rollouts - 1} "
            f"reaches: {advice}"
        )
    return first


def _follow(before: PlannedStage, stage: Stage, index: int, first: int, args: GeometryArgs) -> PlannedStage:
    names = ("data", "num_generations", "max_completion_length", "overlong_cache", "temperature")
    given = {name: value for name in names if (value := getattr(stage, name)) is not None}
    after = replace(before, index=index, first=first, **given)
    generations = after.num_generations
    if stage.hold == "completions" and before.completions % generations:
        raise ValueError(
            f"num_generations must divide the {before.completions} completions of a rollout, got {generations}: set a "
            f"divisor of {before.completions}, or hold: prompts"
        )
    prompts = before.prompts if stage.hold == "prompts" else before.completions // generations
    completions = prompts * generations
    micro_batches = args.world_size * args.steps_per_generation
    rows, rest = divmod(completions, micro_batches)
    parts = math.ceil(rows / args.per_device_train_batch_size)
    if rest or rows % max(parts, 1):
        raise ValueError(
            f"the {completions} completions of a rollout ({prompts} prompts x {generations}) cannot be split equally "
            f"into {micro_batches} micro-batches (processes x steps_per_generation) with backward passes of at most "
            f"{args.per_device_train_batch_size} completions: set num_generations to a multiple of "
            f"{before.num_generations}, or hold: completions"
        )
    return replace(after, prompts=prompts, completions=completions, parts=parts)


def _check(planned: Sequence[PlannedStage], names: Collection[str], args: Any) -> None:
    for stage in planned:
        if unknown := [name for name in stage.data if name not in names]:
            raise ValueError(
                f"stage {stage.index} takes its prompts from {unknown[0]!r} but the datasets are {', '.join(names)}: "
                "name one of them under `data`"
            )
        check_cache(stage.overlong_cache, stage.max_completion_length, f"overlong_cache of stage {stage.index}")
        check_early(args.early_generations, stage.num_generations, f" in stage {stage.index}")
    lengths = {stage.max_completion_length for stage in planned}
    for fixed, name in _FIXED.items():
        if fixed in (args.generation_kwargs or {}) and len({getattr(stage, name) for stage in planned}) > 1:
            raise ValueError(
                f"generation_kwargs sets {fixed} for the whole run but the stages have different {name}: leave it out "
                "of generation_kwargs"
            )
    if None in lengths or not args.use_vllm or args.vllm_max_model_length is None:
        return
    if args.vllm_max_model_length <= (longest := max(lengths)):
        raise ValueError(
            f"vllm_max_model_length must be above {longest}, the longest completion of a stage, because it limits "
            f"prompt and completion together, got {args.vllm_max_model_length}: set it to {longest} plus the longest "
            f"prompt, for example {longest + 2048}"
        )
