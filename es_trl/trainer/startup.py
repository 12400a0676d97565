"""What a run will do, as text for people: geometry, control loop, schedule, warnings."""

import math
from collections.abc import Iterator, Sequence

from trl import GRPOTrainer

from ..common.tables import as_table
from ..config.config import ESGRPOConfig
from ..config.presets import describe_method
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
    """Return the text that trainers print when they start, and `plan` prints before; callbacks are prepared."""
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
    warnings = [*run_warnings(args, geometry, loop), *stage_warnings(args, curriculum)]
    sections.append("\n".join(f"warning: {warning}" for warning in warnings))
    return "\n\n".join(section for section in sections if section) + "\n"


def stage_table(planned: Sequence[PlannedStage], num_rollouts: int | None) -> str:
    """Return the stages as a table, with their tokens and cost where every completion is as long as it may be."""
    ends = [*(stage.first for stage in planned[1:]), num_rollouts]
    total = num_rollouts and sum((end - s.first) * s.tokens for s, end in zip(planned, ends, strict=True))
    header = [
        "stage",
        "rollouts",
        "data",
        "prompts x completions",
        "longest",
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
            str(stage.parts),
            f"{stage.tokens:,}",
            f"{stage.tokens / planned[0].tokens:.3g}x",
            f"{(end - stage.first) * stage.tokens / total:.0%}" if total else "-",
        )
        for stage, end in zip(planned, ends, strict=True)
    ]
    note = "(longest: tokens of a completion; cost of a rollout beside stage 0, and share of the run's tokens, at most)"
    return f"{as_table(header, rows)}\n{note}"


def stage_warnings(args: ESGRPOConfig, curriculum: Curriculum | None) -> Iterator[str]:
    """Say what of the stages will run, and probably not as meant."""
    if curriculum is None:
        return
    prompts = curriculum.prompts
    if any(stage.start == "onset" for stage in curriculum.stages) and len(prompts.planned) == len(curriculum.stages):
        yield "the stage at the onset is the whole run, as the schedule anneals from rollout 0 on: set its start"
    idle = set(prompts.datasets) - {name for stage in prompts.planned for name in stage.data}
    if idle:
        yield f"no stage takes prompts from {', '.join(sorted(idle))}: name them under `data`, or drop them"
    lengths = [stage.max_completion_length for stage in prompts.planned]
    if args.loss_type == "dr_grpo" and len(set(lengths)) > 1:
        yield f"dr_grpo divides by max_completion_length, that of the first stage ({lengths[0]}) in every stage"


def run_warnings(args: ESGRPOConfig, geometry: Geometry, loop: EntropyLoop | None) -> Iterator[str]:
    """Say what of the run will run, and probably not as meant."""
    if args.save_only_model:
        yield "save_only_model leaves out what a resume needs: no checkpoint of this run can be resumed"
    if loop is None or loop.schedule is None:
        return
    if geometry.rollouts is None:
        yield "the length of the run depends on the data set: set max_steps to see it here"
    else:
        onset = onset_rollout(loop.schedule, geometry.rollouts)
        length = geometry.rollouts if onset is None else geometry.rollouts - onset
        if onset is not None and length < 5:
            yield f"the anneal has only {length} of {geometry.rollouts} rollouts: raise max_steps or the ratio"
        yield from _controller_warnings(loop, geometry.rollouts)
    if len(loop.actuators) > 1 and not isinstance(loop.controller, SelfTunedPIDController):
        yield "one set of gains serves controls of different units: set the controller to self_tuned_pid"
    mode, longest = args.vllm_importance_sampling_mode, args.max_completion_length
    if args.use_vllm and mode.startswith("sequence") and (longest is None or longest > 1024):
        yield (
            f"vllm_importance_sampling_mode {mode} multiplies the mismatch over up to {longest or 'all'} tokens and "
            "drops most long completions: set token_truncate"
        )


def _controller_warnings(loop: EntropyLoop, rollouts: int) -> Iterator[str]:
    controller, actuator = loop.controller, loop.actuators[0]
    if isinstance(controller, DeadBandController) and controller.warmup >= rollouts:
        yield f"the warm-up of dead_band is {controller.warmup} rollouts, and the run has {rollouts}: lower warmup"
    if isinstance(controller, SignStepController) and len(loop.actuators) == 1:
        delta, span = controller.delta, actuator.high - actuator.low
        if delta * rollouts < span / 2:
            yield (
                f"sign_step moves the control by at most {delta * rollouts:.3g} in {rollouts} rollouts, and the "
                f"actuator's range is {span:.3g} wide: raise delta"
            )
        if span / delta < 20:
            crossing = math.ceil(span / delta)
            yield f"sign_step crosses the actuator's whole range of {span:.3g} in {crossing} rollouts: lower delta"
