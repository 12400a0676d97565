"""The curriculum: the stages of a run, and what each rollout of a stage holds. Knows neither torch nor TRL.

Source: "Entropy Scheduling in Reinforcement Learning for Large Language Models", section 5: where annealing begins,
switch to high-quality data, from 8 to 32 rollouts of a prompt, and from 4k to 16k tokens.
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ..control.geometry import Geometry, GeometryArgs
from ..control.schedules import progress_at
from ..control.values import check_count


BASE_DATA = "train"  # the name of the one data set of a trainer that got no names


@dataclass(frozen=True)
class Stage:
    """
    What changes at one point of the run. What is not given stays as in the stage before.

    Args:
        start (`float` or `"onset"`):
            Where it begins: progress from 0 (the first rollout) to 1 (the last one), or the onset of the entropy
            schedule. A stage that starts at 0 takes the place of the configuration's own values.
        data (`str` or `dict[str, float]`, *optional*):
            The data set that prompts come from, or several with their weights, by name.
        num_generations (`int`, *optional*):
            Completions of each prompt, at least 2 (the paper: 8, then 32).
        max_completion_length (`int`, *optional*):
            Tokens that a completion may have (the paper: 4096, then 16384).
        overlong_cache (`int`, *optional*):
            Tokens before that length over which the soft overlong punishment grows.
        hold (`"completions"` or `"prompts"`):
            What a change of `num_generations` leaves as it was: the completions of a rollout, so that it has fewer
            prompts, or its prompts, so that it has more completions. Then the updates of a rollout stay as many, and
            each has more micro-batches of the same size (verl's meaning).
    """

    start: float | Literal["onset"]
    data: str | dict[str, float] | None = None
    num_generations: int | None = None
    max_completion_length: int | None = None
    overlong_cache: int | None = None
    hold: Literal["completions", "prompts"] = "completions"

    def __post_init__(self):
        number = isinstance(self.start, int | float) and not isinstance(self.start, bool)
        if self.start != "onset" and not (number and 0.0 <= self.start <= 1.0):
            raise ValueError(
                f"`start` is {self.start!r}, and a stage starts at the `onset` of the entropy schedule or at a share "
                "of the run: set onset, or a number from 0 to 1"
            )
        for name, least in (("num_generations", 2), ("max_completion_length", 1), ("overlong_cache", 0)):
            if getattr(self, name) is not None:
                check_count(name, getattr(self, name), least)
                object.__setattr__(self, name, int(getattr(self, name)))
        if self.hold not in ("completions", "prompts"):
            raise ValueError(f"`hold` is {self.hold!r}: set completions (fewer prompts) or prompts (more completions)")
        if self.data is not None:
            object.__setattr__(self, "data", _weights(self.data))


@dataclass(frozen=True)
class PlannedStage:
    """
    A stage of a particular run: everything it has, whether it is new or stays.

    Args:
        index (`int`), first (`int`):
            Number of the stage, from 0, and its first rollout.
        data (`dict[str, float]`):
            Names of the data sets and the share of prompts that each gives; the shares sum to 1.
        prompts (`int`), num_generations (`int`), completions (`int`):
            Prompts a rollout, completions of each, and their product, over all processes.
        max_completion_length (`int`, *optional*), overlong_cache (`int`):
            Tokens; `None` where the generation itself decides, which is so in all stages or in none.
        parts (`int`):
            Parts of each micro-batch of the configuration, one backward pass each, so that none is larger than that.
    """

    index: int
    first: int
    data: dict[str, float]
    prompts: int
    num_generations: int
    completions: int
    max_completion_length: int | None
    overlong_cache: int
    parts: int

    @property
    def tokens(self) -> int:
        """Tokens that a rollout generates at most."""
        return self.completions * self.max_completion_length

    def changes_from(self, before: "PlannedStage") -> str:
        """What is new, for people."""
        names = ("data", "prompts", "num_generations", "max_completion_length", "overlong_cache")
        rows = [(name, getattr(before, name), getattr(self, name)) for name in names]
        return (
            ", ".join(f"{name} {as_text(old)} -> {as_text(new)}" for name, old, new in rows if old != new) or "nothing"
        )


def plan_stages(
    stages: Sequence[Stage],
    args: GeometryArgs,
    num_rollouts: int | None,
    onset: int | None,
    names: Collection[str],
) -> list[PlannedStage]:
    """
    The stages of a run, the first of which starts at rollout 0.

    Args:
        stages (sequence of `Stage`):
            In their order.
        args (`ESGRPOConfig`):
            The configuration: what holds before the first stage.
        num_rollouts (`int`, *optional*):
            Rollouts in the run; `None` where the data set decides.
        onset (`int`, *optional*):
            The first rollout of the anneal.
        names (collection of `str`):
            Names of the data sets that there are.

    Raises:
        ValueError: where a stage cannot be had, or would have no rollout.
    """
    start = _configured(args)
    if stages and args.max_completion_length is None:
        raise ValueError("a curriculum needs the longest completion of its first stage: set max_completion_length")
    if stages and num_rollouts is None:
        raise ValueError(
            "a curriculum needs the length of the run, and epochs of several stages have none: set max_steps"
        )
    planned = [start]
    for number, stage in enumerate(stages, start=1):
        first = _first_rollout(stage, number, num_rollouts, onset)
        if first == 0 and number == 1:
            planned.clear()
        elif planned and first <= planned[-1].first:
            raise ValueError(
                f"entry {number} of the curriculum starts at rollout {first} of {num_rollouts}, and the one before it "
                f"at rollout {planned[-1].first}, so that one would have no rollout: put the stages in their order "
                "and their starts farther apart, or raise max_steps"
            )
        try:
            planned.append(_follow(planned[-1] if planned else start, stage, len(planned), first, args))
        except ValueError as error:
            raise ValueError(f"entry {number} of the curriculum: {error}") from None
    _check_names(planned, names)
    _check_lengths(planned, args)
    return planned


def stage_of(planned: Sequence[PlannedStage], rollout: int) -> PlannedStage:
    """The stage that a rollout belongs to."""
    return next(stage for stage in reversed(planned) if stage.first <= rollout)


def check_cache(cache: int, longest: int | None, name: str) -> None:
    """Refuse an overlong cache that leaves no length of a completion unpunished; `name` is for the message."""
    if longest is None:
        if cache > 0:
            raise ValueError(f"{name} is {cache} and the longest completion is not known: set max_completion_length")
        return
    if cache > longest:
        raise ValueError(
            f"{name} is {cache} and a completion has at most {longest} tokens, so that every one would be punished: "
            f"set it to a part of that, for example {longest // 4}"
        )


def _configured(args: GeometryArgs) -> PlannedStage:
    """What the configuration itself says, as a stage."""
    geometry = Geometry.of(args)
    return PlannedStage(
        index=0,
        first=0,
        data={BASE_DATA: 1.0},
        prompts=geometry.prompts,
        num_generations=geometry.num_generations,
        completions=geometry.completions,
        max_completion_length=args.max_completion_length,
        overlong_cache=getattr(args, "overlong_cache", 0),  # which a plain GRPOConfig has not
        parts=1,
    )


def _first_rollout(stage: Stage, number: int, num_rollouts: int, onset: int | None) -> int:
    if stage.start == "onset":
        if onset is None:
            raise ValueError(
                f"entry {number} of the curriculum starts at the onset, and the entropy schedule has none in "
                f"{num_rollouts} rollouts: set `entropy_schedule` to one that anneals "
                "(stable_anneal), or `start` to a share of the run"
            )
        return onset
    begun = (rollout for rollout in range(num_rollouts) if progress_at(rollout, num_rollouts) >= stage.start)
    first = next(begun, None)
    if first is None:
        raise ValueError(
            f"entry {number} of the curriculum starts at {stage.start} of the run, which has {num_rollouts} rollout, "
            "so it would have none: raise max_steps"
        )
    return first


def _follow(before: PlannedStage, stage: Stage, index: int, first: int, args: GeometryArgs) -> PlannedStage:
    generations = before.num_generations if stage.num_generations is None else stage.num_generations
    if stage.hold == "prompts":
        prompts = before.prompts
    elif before.completions % generations == 0:
        prompts = before.completions // generations
    else:
        raise ValueError(
            f"num_generations is {generations} and a rollout holds {before.completions} completions, so those of one "
            f"prompt would be split: set a divisor of {before.completions}, or hold: prompts"
        )
    completions = prompts * generations
    micro_batches = args.world_size * args.steps_per_generation
    rows, rest = divmod(completions, micro_batches)
    parts = math.ceil(rows / args.per_device_train_batch_size)
    if rest or rows % max(parts, 1):
        raise ValueError(
            f"{prompts} prompts x {generations} completions are {completions}, which the {micro_batches} micro-batches "
            f"of a rollout (processes x steps_per_generation) and parts of {args.per_device_train_batch_size} "
            f"completions cannot share equally: set num_generations to a multiple of {before.num_generations}, or "
            "hold: completions"
        )
    longest = before.max_completion_length if stage.max_completion_length is None else stage.max_completion_length
    return PlannedStage(
        index=index,
        first=first,
        data=before.data if stage.data is None else stage.data,
        prompts=prompts,
        num_generations=generations,
        completions=completions,
        max_completion_length=longest,
        overlong_cache=before.overlong_cache if stage.overlong_cache is None else stage.overlong_cache,
        parts=parts,
    )


def _check_names(planned: Sequence[PlannedStage], names: Collection[str]) -> None:
    for stage in planned:
        for name in stage.data:
            if name not in names:
                raise ValueError(
                    f"stage {stage.index} takes its prompts from {name!r}, and the data sets are "
                    f"{', '.join(names)}: name one of them under `data`"
                )


def _check_lengths(planned: Sequence[PlannedStage], args: Any) -> None:
    for stage in planned:
        check_cache(stage.overlong_cache, stage.max_completion_length, f"overlong_cache of stage {stage.index}")
    fixed = {"max_new_tokens", "max_tokens"} & set(getattr(args, "generation_kwargs", None) or {})
    if fixed and len({stage.max_completion_length for stage in planned}) > 1:
        raise ValueError(
            f"generation_kwargs sets {fixed.pop()}, which stays, and the stages have different max_completion_length: "
            "take it out of generation_kwargs"
        )
    if args.max_completion_length is None:
        return
    longest = max(stage.max_completion_length for stage in planned)
    if args.use_vllm and args.vllm_max_model_length is not None and args.vllm_max_model_length <= longest:
        raise ValueError(
            f"vllm_max_model_length is {args.vllm_max_model_length} and the longest stage has completions of {longest} "
            "tokens, and the engine is built once, for prompt and completion together: set it to "
            f"{longest} plus the longest prompt, for example {longest + 2048}"
        )


def _weights(data: Any) -> dict[str, float]:
    weights = {data: 1.0} if isinstance(data, str) else data
    if not isinstance(weights, dict) or not weights:
        raise ValueError(f"`data` is {data!r}: set the name of a data set, or names with weights: {{easy: 1, hard: 3}}")
    for name, weight in weights.items():
        number = isinstance(weight, int | float) and not isinstance(weight, bool)
        if not (number and math.isfinite(weight) and weight > 0.0):
            raise ValueError(f"the weight of {name!r} in `data` is {weight!r}: set a number above 0")
    total = math.fsum(weights.values())
    return {name: weight / total for name, weight in weights.items()}


def as_text(value: Any) -> str:
    """A size, or names with their shares, for people."""
    if not isinstance(value, dict):
        return str(value)
    return " + ".join(name if share == 1.0 else f"{share:.0%} {name}" for name, share in value.items())


def as_stages(stages: Any) -> list[Stage]:
    """
    The stages of a curriculum as a list.

    Raises:
        ValueError: for what are no stages.
    """
    listed = list(stages) if isinstance(stages, Sequence) and not isinstance(stages, str) else [stages]
    for stage in listed:
        if not isinstance(stage, Stage):
            raise ValueError(f"a curriculum must be a list of Stage, got {stage!r}: give Stage(start=...) objects")
    return listed
