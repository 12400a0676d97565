"""What a run will do, as text for people: geometry, control loop, schedule, warnings."""

import math
from collections.abc import Sequence

from trl import GRPOTrainer

from ..config.config import ESGRPOConfig
from ..config.methods import describe_method
from ..control.algorithm1 import SignStepController
from ..control.band import DeadBandController
from ..control.geometry import Geometry
from ..control.loop import EntropyLoop, part_rows
from ..control.schedules import onset_rollout
from ..control.self_tuned import SelfTunedPIDController
from ..control.sketch import sketch
from ..curriculum.planned import PlannedStage, as_text
from .callbacks import Curriculum, EntropyScheduler
from .launch import check_sharding


def say_what_begins(trainer: GRPOTrainer, scheduler: EntropyScheduler | None, curriculum: Curriculum | None) -> None:
    """Print what a training is, or raise where it is not spread over the processes as it was launched to be."""
    spread = check_sharding(trainer)
    if trainer.accelerator.is_main_process:
        geometry = Geometry.of(trainer.args, max_steps=trainer.state.max_steps)
        print(report(trainer.args, geometry, scheduler, curriculum), spread, sep="\n", flush=True)


def report(
    args: ESGRPOConfig, geometry: Geometry, scheduler: EntropyScheduler | None, curriculum: Curriculum | None
) -> str:
    """
    The text that trainers print when they start, and `plan` prints before.

    Args:
        args (`ESGRPOConfig`):
            The configuration.
        geometry (`Geometry`):
            Its geometry.
        scheduler (`EntropyScheduler`, *optional*), curriculum (`Curriculum`, *optional*):
            Where there are any, prepared.
    """
    loop = scheduler.loop if scheduler else None
    sections = [geometry.table()]
    if curriculum is not None and curriculum.stages:
        sections.append(stage_table(curriculum.prompts.planned, geometry.rollouts))
    if args.method is not None:
        sections.append(describe_method(args))
    if tries := args.dynamic_sampling_tries:
        sections.append(f"dynamic sampling: up to {tries} more generations per rollout, of prompts that are missing")
    if loop is not None:
        sections.append("\n".join(f"{name:<10}  {part}" for name, part in part_rows(loop.describe())))
    if loop is not None and loop.schedule is not None:
        onset = geometry.rollouts and onset_rollout(loop.schedule, geometry.rollouts)
        sections.append(sketch(loop.schedule) + (f" (rollout {onset} of {geometry.rollouts})" if onset else ""))
    warnings = find_warnings(args, geometry, loop) + stage_warnings(args, curriculum)
    sections.append("\n".join(f"warning: {warning}" for warning in warnings))
    return "\n\n".join(section for section in sections if section) + "\n"


def stage_table(planned: Sequence[PlannedStage], num_rollouts: int | None) -> str:
    """
    The stages for people: sizes, tokens, and cost beside the first stage.

    The cost counts every completion as long as it may be, and every token the same.
    """
    ends = [*(stage.first for stage in planned[1:]), num_rollouts]
    sizes = ("prompts x completions", "longest", "parts", "tokens/rollout", "cost", "share")
    rows = [("stage", "rollouts", "data", *sizes)]
    total = num_rollouts and sum((end - s.first) * s.tokens for s, end in zip(planned, ends, strict=True))
    for stage, end in zip(planned, ends, strict=True):
        rows.append(
            (
                str(stage.index),
                f"{stage.first} to {end - 1}" if end else f"from {stage.first}",
                as_text(stage.data),
                f"{stage.prompts} x {stage.num_generations}",
                str(stage.max_completion_length),
                str(stage.parts),
                f"{stage.tokens:,}",
                f"{stage.tokens / planned[0].tokens:.3g}x",
                f"{(end - stage.first) * stage.tokens / total:.0%}" if total else "-",
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    note = "(longest: tokens of a completion; cost of a rollout beside stage 0, and share of the run's tokens, at most)"
    return "\n".join([*lines, note])


def stage_warnings(args: ESGRPOConfig, curriculum: Curriculum | None) -> list[str]:
    """Of the stages, what will run and probably not as meant."""
    warnings = []
    if curriculum is None:
        return warnings
    prompts = curriculum.prompts
    if any(stage.start == "onset" for stage in curriculum.stages) and len(prompts.planned) == len(curriculum.stages):
        warnings.append(
            "the schedule anneals from the first rollout on, so the stage at the onset is the whole run: set its start "
            "to a share of the run"
        )
    idle = set(prompts.datasets) - {name for stage in prompts.planned for name in stage.data}
    if idle:
        warnings.append(f"no stage takes prompts from {', '.join(sorted(idle))}: name them under `data`, or drop them")
    first_length = prompts.planned[0].max_completion_length
    if args.loss_type == "dr_grpo" and len({stage.max_completion_length for stage in prompts.planned}) > 1:
        warnings.append(
            f"dr_grpo divides by max_completion_length: by {first_length} in every stage, so that a "
            "switch leaves the scale of the loss as it is"
        )
    return warnings


def find_warnings(args: ESGRPOConfig, geometry: Geometry, loop: EntropyLoop | None) -> list[str]:
    """What will run, and probably not as meant: one sentence each."""
    warnings = []
    if args.save_only_model:
        warnings.append("save_only_model leaves out what a resume needs: no checkpoint of this run can be resumed")
    if loop is None or loop.schedule is None:
        return warnings
    rollouts = geometry.rollouts
    onset = None if rollouts is None else onset_rollout(loop.schedule, rollouts)
    if rollouts is None:
        warnings.append("the length of the run depends on the data set: set max_steps to see it here")
    elif onset is not None and rollouts - onset < 5:
        warnings.append(
            f"the anneal has {rollouts - onset} of {rollouts} rollouts, and entropy follows a control with a delay of "
            "at least one: raise max_steps or the ratio"
        )
    actuators = loop.actuators
    if len(actuators) > 1 and not isinstance(loop.controller, SelfTunedPIDController):
        warnings.append(
            "the actuators count their controls in different units, and one set of gains serves them all: set the "
            "controller to self_tuned_pid"
        )
    elif isinstance(loop.controller, DeadBandController) and rollouts is not None:
        if loop.controller.warmup >= rollouts:
            warnings.append(
                f"the warm-up of dead_band is {loop.controller.warmup} rollouts and the run has {rollouts}, so the "
                "coefficient never moves: lower warmup"
            )
    elif isinstance(loop.controller, SignStepController):
        delta, span = loop.controller.delta, actuators[0].high - actuators[0].low
        if rollouts is not None and delta * rollouts < span / 2:
            warnings.append(
                f"sign_step moves the control by at most {delta * rollouts:.3g} in {rollouts} rollouts, and the "
                f"actuator's range is {span:.3g} wide: raise delta"
            )
        if span / delta < 20:
            warnings.append(
                f"sign_step crosses the actuator's whole range of {span:.3g} in {math.ceil(span / delta)} rollouts: "
                "lower delta"
            )
    if (
        args.use_vllm
        and args.vllm_importance_sampling_mode.startswith("sequence")
        and (args.max_completion_length is None or args.max_completion_length > 1024)
    ):
        warnings.append(
            f"vllm_importance_sampling_mode {args.vllm_importance_sampling_mode} multiplies the mismatch over up to "
            f"{args.max_completion_length or 'all'} tokens and drops most long completions: set token_truncate"
        )
    return warnings
