"""The text that is printed when a run begins: geometry, stages, entropy loop, schedule and warnings."""

import math
from collections.abc import Iterable, Iterator, Sequence

from transformers.trainer_utils import IntervalStrategy
from trl import GRPOTrainer

from ..actuators.clip import ClipHighActuator
from ..common.shown import wrapped
from ..common.tables import as_table
from ..config.config import ESGRPOConfig
from ..config.goal import describe_goal
from ..config.micro_batches import coupling, own_path
from ..config.presets import describe_method
from ..config.truncated_sampling import truncation_warning, truncations
from ..control.algorithm1 import SignStepController
from ..control.band import DeadBandController
from ..control.base import Actuator
from ..control.geometry import Geometry
from ..control.loop import EntropyLoop, part_rows
from ..control.schedules import onset_rollout
from ..control.self_tuned import SelfTunedPIDController
from ..control.sketch import sketch
from ..curriculum.planned import PlannedStage, as_text
from ..tracking.console import Extent
from .callbacks import Curriculum, EntropyScheduler
from .launch import check_sharding


_TO_ZERO = ("linear", "cosine", "cosine_with_restarts", "polynomial")


def what_begins(trainer: GRPOTrainer, scheduler: EntropyScheduler | None, curriculum: Curriculum | None) -> str:
    """Return the report of a run, or raise if the run is not spread over its processes as configured."""
    spread = check_sharding(trainer)
    geometry = Geometry.of(trainer.args, max_steps=trainer.state.max_steps)
    return f"{report(trainer.args, geometry, scheduler, curriculum)}\n{spread}"


def extent_of(trainer: GRPOTrainer) -> Extent:
    """Return the size of a run for its console."""
    state, scheduler, curriculum = trainer.state, trainer.entropy_scheduler, trainer.curriculum
    return Extent(
        rollouts=trainer.num_rollouts,
        updates=state.max_steps,
        every=state.logging_steps if trainer.args.logging_strategy == IntervalStrategy.STEPS else math.inf,
        controlled=scheduler is not None and scheduler.loop.controller.needs_target,
        staged=curriculum is not None and bool(curriculum.stages),
    )


def report(
    args: ESGRPOConfig, geometry: Geometry, scheduler: EntropyScheduler | None, curriculum: Curriculum | None
) -> str:
    """
    Return the text that a trainer prints when it starts, and that `plan` prints before.

    Scheduler and curriculum must have been prepared.
    """
    loop = scheduler.loop if scheduler else None
    sections = [geometry.table(), describe_cutting(args, loop.actuators if loop else ())]
    if curriculum is not None and curriculum.stages:
        sections.append(stage_table(curriculum.prompts.planned, geometry.rollouts))
    if args.method is not None:
        sections.append(describe_method(args))
    sections.append(describe_goal(args))
    if tries := args.dynamic_sampling_tries:
        sections.append(
            f"dynamic sampling: up to {tries} more generations per rollout, for prompts whose rewards are all equal"
            f"{' or that are left early' if args.early_generations else ''}"
        )
    if early := args.early_generations:
        low, high = args.early_pass_rates
        sections.append(
            f"early exit: prompts with a pass rate outside {low:g} to {high:g} are left after {early} completions"
        )
    if loop is not None:
        sections.append("\n".join(f"{name:<10}  {part}" for name, part in part_rows(loop.describe())))
    if args.entropy_sensor == "update":
        moves = loop is not None and loop.controller.needs_target
        then = ", and the control moves after it: the controller counts updates" if moves else ""
        sections.append(f"entropy is estimated at every update{then}")
    if loop is not None and loop.schedule is not None:
        onset = geometry.rollouts and onset_rollout(loop.schedule, geometry.rollouts)
        if not loop.controller.needs_target:
            sections.append("open loop: the target is recorded, and nothing holds entropy to it")
        sections.append(sketch(loop.schedule) + (f" (rollout {onset} of {geometry.rollouts})" if onset else ""))
    warnings = [*run_warnings(args, geometry, loop), *stage_warnings(args, curriculum)]
    sections.append("\n".join(wrapped(f"warning: {warning}") for warning in warnings))
    return "\n\n".join(section for section in sections if section) + "\n"


def describe_cutting(args: ESGRPOConfig, actuators: Iterable[Actuator]) -> str:
    """Return the line on how micro-batches are cut, as far as the configuration tells it without a model."""
    if own := own_path(args):
        return f"micro-batches are TRL's, with its padding ({own.replace('`', '')})"
    if reason := coupling(args, actuators):
        return f"micro-batches keep TRL's completions, without its padding, because of {reason}"
    most = args.max_tokens_per_micro_batch
    if most is not None:
        return f"micro-batches are cut by tokens: at most {most:,} (max_tokens_per_micro_batch)"
    size = args.per_device_train_batch_size
    return f"micro-batches are cut by tokens: at most {size} x (longest prompt + longest completion)"


def stage_table(planned: Sequence[PlannedStage], num_rollouts: int | None) -> str:
    """Return the stages as a table, with tokens and cost for completions of the largest length."""
    ends = [*(stage.first for stage in planned[1:]), num_rollouts]
    total = num_rollouts and sum((end - s.first) * s.tokens for s, end in zip(planned, ends, strict=True))
    header = [
        "stage",
        "rollouts",
        "data",
        "prompts x completions",
        "longest",
        "temperature",
        "parts",
        "tokens/rollout",
        "cost",
        "share",
    ]
    rows = [
        (
            str(stage.index),
            f"{stage.first} to {end - 1}" if end else f"from {stage.first}",
            as_text(stage.data),
            f"{stage.prompts} x {stage.num_generations}",
            str(stage.max_completion_length),
            f"{stage.temperature:g}",
            str(stage.parts),
            f"{stage.tokens:,}",
            f"{stage.tokens / planned[0].tokens:.3g}x",
            f"{(end - stage.first) * stage.tokens / total:.0%}" if total else "-",
        )
        for stage, end in zip(planned, ends, strict=True)
    ]
    note = (
        "(longest: tokens of the longest completion; parts: of each of TRL's micro-batches, where they are kept; cost: "
        "tokens per\nrollout relative to stage 0; share: of the run's tokens; tokens, cost and share assume that every "
        "completion is the longest)"
    )
    return f"{as_table(header, rows)}\n{note}"


def stage_warnings(args: ESGRPOConfig, curriculum: Curriculum | None) -> Iterator[str]:
    """Yield warnings about stages that can run but are probably not meant so."""
    if curriculum is None:
        return
    prompts = curriculum.prompts
    if any(stage.start == "onset" for stage in curriculum.stages) and len(prompts.planned) == len(curriculum.stages):
        yield (
            "the stage that starts at the onset is the whole run, because the schedule anneals from rollout 0: set the "
            "stage's `start` to a number of rollouts, or give the schedule a stable phase"
        )
    idle = set(prompts.datasets) - {name for stage in prompts.planned for name in stage.data}
    if idle:
        yield f"no stage takes prompts from {', '.join(sorted(idle))}: name them in the `data` of a stage, or drop them"
    lengths = [stage.max_completion_length for stage in prompts.planned]
    if args.loss_type == "dr_grpo" and len(set(lengths)) > 1:
        yield (
            f"dr_grpo divides the loss by the max_completion_length of the first stage ({lengths[0]}) in every stage: "
            "choose another loss_type if it should follow the stage"
        )


def run_warnings(args: ESGRPOConfig, geometry: Geometry, loop: EntropyLoop | None) -> Iterator[str]:
    """Yield warnings about settings of the run that are allowed but probably not meant so."""
    if args.save_only_model:
        yield (
            "checkpoints of this run cannot be resumed, because save_only_model leaves out the optimizer and the state "
            "of the run: set save_only_model: false to resume"
        )
    if args.entropy_sensor == "update":
        yield from _sensor_warnings(args)
    if args.early_generations and not args.dynamic_sampling_tries:
        yield (
            "prompts that are left after early_generations are masked and not replaced, because dynamic_sampling_tries "
            "is 0: set dynamic_sampling_tries to 10"
        )
    if warning := truncation_warning(args):
        yield warning
    if loop is None or loop.schedule is None:
        return
    decay = getattr(args.lr_scheduler_type, "value", args.lr_scheduler_type)
    if decay in _TO_ZERO:
        yield (
            f"the learning rate falls to 0 (lr_scheduler_type: {decay}), so at the end of the run no control can move "
            "entropy: set lr_scheduler_type: constant"
        )
    if geometry.rollouts is None:
        yield "the number of rollouts depends on the dataset: set max_steps to see it here"
    else:
        onset = onset_rollout(loop.schedule, geometry.rollouts)
        length = geometry.rollouts if onset is None else geometry.rollouts - onset
        if onset is not None and length < 5:
            yield f"the anneal phase has only {length} of {geometry.rollouts} rollouts: raise max_steps or the ratio"
        per_update = args.entropy_sensor == "update"
        yield from _controller_warnings(loop, geometry, "updates" if per_update else "rollouts")
    actuator = loop.actuators[0]
    if isinstance(actuator, ClipHighActuator) and actuator.low >= 1.0 and args.loss_type != "cispo":
        yield (
            f"clip_high cuts only ratios above {1.0 + actuator.low:g}, which few tokens reach in the updates of "
            "a rollout: watch clip_high_fraction, and lower the bounds and epsilon_high where it stays near 0"
        )
    if len(loop.actuators) > 1 and not isinstance(loop.controller, SelfTunedPIDController):
        yield (
            "the actuators of the chain have different units, but the controller has one set of gains for all of them: "
            "set the controller to self_tuned_pid"
        )
    mode, longest = args.vllm_importance_sampling_mode, args.max_completion_length
    if args.use_vllm and mode.startswith("sequence") and (longest is None or longest > 1024):
        yield (
            f"vllm_importance_sampling_mode {mode} multiplies the ratios of up to {longest or 'all'} tokens, so most "
            "long completions are cut or masked: set it to token_truncate"
        )


def _sensor_warnings(args: ESGRPOConfig) -> Iterator[str]:
    """Yield warnings about settings in which `entropy_sensor: update` reads too low."""
    if args.num_iterations > 1:
        yield (
            "entropy_sensor: update reads too low from the second pass over a rollout on, because the policy was "
            "trained on the same tokens: set num_iterations: 1 with a larger steps_per_generation, or entropy_sensor: "
            "rollout"
        )
    if truncations(args):
        yield (
            "entropy_sensor: update reads too low where sampling leaves out unlikely tokens: set top_p: 1.0, top_k: 0 "
            "and min_p: none, or entropy_sensor: rollout"
        )


def _controller_warnings(loop: EntropyLoop, geometry: Geometry, unit: str) -> Iterator[str]:
    """Yield warnings about a controller that decides once per `unit`, rollouts or updates."""
    controller, actuator = loop.controller, loop.actuators[0]
    count = geometry.rollouts * (int(geometry.updates) if unit == "updates" else 1)
    if isinstance(controller, DeadBandController) and controller.warmup >= count:
        yield (
            f"the warm-up of dead_band ({controller.warmup} {unit}) is not shorter than the run ({count} {unit}): "
            "lower warmup"
        )
    if isinstance(controller, SignStepController) and len(loop.actuators) == 1:
        delta, span = controller.delta, actuator.high - actuator.low
        if delta * count < span / 2:
            yield (
                f"sign_step can move the control by at most {delta * count:.3g} in {count} {unit} but the actuator's "
                f"range is {span:.3g} wide: raise delta"
            )
        # an update answers the one before, so fewer steps are enough there: MAI's range has ten
        if span / delta < (10 if unit == "updates" else 20):
            crossing = math.ceil(span / delta)
            yield f"sign_step crosses the actuator's range of {span:.3g} in only {crossing} {unit}: lower delta"
