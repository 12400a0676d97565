"""What a recipe would do, without loading a model: geometry, the schedule as text, warnings."""

from dataclasses import dataclass
from pathlib import Path

from .callbacks import EntropyScheduler
from .config import ESGRPOConfig
from .control import EntropyLoop
from .controllers import SignStepController
from .data import LOCAL_FORMATS, load_rows
from .geometry import Geometry
from .recipe import Recipe, RecipeParser
from .schedules import Schedule


def plan(recipe_file: str, num_processes: int | None, overrides: list[str]) -> str:
    """
    The plan of a recipe, for people.

    Args:
        recipe_file (`str`):
            The recipe's YAML.
        num_processes (`int`, *optional*):
            Processes that will train; those of this launch where unset.
        overrides (`list[str]`):
            Options as on the recipe's command line.

    Raises:
        ValueError: where the run would be refused.
    """
    if num_processes is not None and num_processes < 1:
        raise ValueError(f"--num_processes is {num_processes}, and a run needs one: set 1 or more")
    training_class = ESGRPOConfig if num_processes is None else _planned_for(num_processes)
    # a plan for GPUs is made on any machine
    recipe = RecipeParser(training_class).parse(["--config", recipe_file, *overrides, "--use_cpu", "true"])
    args = recipe.training
    geometry = Geometry.of(args)
    prompts = _count_prompts(recipe)
    if prompts is not None:
        if prompts < geometry.prompts:
            raise ValueError(
                f"{recipe.data.dataset_name} has {prompts} prompts and one rollout takes {geometry.prompts}, so not "
                "one could be filled: set steps_per_generation lower, num_generations higher, or add prompts"
            )
        geometry = geometry.with_prompts(prompts, args.num_train_epochs)
    sections = [geometry.table()]
    parts = args.build_parts()
    loop = None
    if parts is not None:
        scheduler = EntropyScheduler(*parts)
        scheduler.prepare(args)
        loop = scheduler.loop
        sections.append(
            "\n".join(f"{part:<10}  {getattr(loop, part)!r}" for part in ("schedule", "controller", "actuator"))
        )
        sections.append(sketch(loop.schedule))
    warnings = find_warnings(args, geometry, loop)
    if warnings:
        sections.append("\n".join(f"warning: {warning}" for warning in warnings))
    return "\n\n".join(sections)


def _planned_for(num_processes: int) -> type[ESGRPOConfig]:
    """The configuration class as a launch of `num_processes` processes would see it."""

    @dataclass
    class PlannedConfig(ESGRPOConfig):
        @property
        def world_size(self) -> int:
            return num_processes

    return PlannedConfig


def _count_prompts(recipe: Recipe) -> int | None:
    """Rows of the data set, where it is a file on this machine."""
    name = recipe.data.dataset_name
    if name is None or Path(name).suffix not in LOCAL_FORMATS:
        return None
    return len(load_rows(recipe.data))


def sketch(schedule: Schedule, width: int = 60, height: int = 8) -> str:
    """
    A schedule as text: a column a step of progress, a row a step of target.

    Args:
        schedule (`Schedule`):
            What to draw.
        width (`int`), height (`int`):
            Columns and rows.
    """
    targets = [schedule(column / (width - 1)) for column in range(width)]
    top = max(targets) or 1.0
    levels = [round(target / top * (height - 1)) for target in targets]
    lines = [f"target entropy, {'multiples of the first rollout' if schedule.relative else 'nats'}"]
    for level in range(height - 1, -1, -1):
        marks = "".join("*" if own == level else " " for own in levels).rstrip()
        lines.append(f"{top * level / (height - 1):6.3f} |{marks}")
    lines.append(" " * 7 + "+" + "-" * width)
    onset = "" if schedule.onset is None else f", annealing from {schedule.onset:.0%}"
    lines.append(" " * 8 + f"progress of the run{onset}")
    return "\n".join(lines)


def find_warnings(args: ESGRPOConfig, geometry: Geometry, loop: EntropyLoop | None) -> list[str]:
    """What will run, and probably not as meant: one sentence each."""
    warnings = []
    if geometry.updates > 1 and args.save_strategy == "steps" and args.save_steps % geometry.updates != 0:
        warnings.append(
            f"save_steps {args.save_steps:g} is no multiple of the {geometry.updates} updates of a rollout: a run "
            "resumed from within a rollout samples the rest of it again, so it is not the same run"
        )
    if loop is None:
        return warnings
    rollouts = geometry.rollouts
    if rollouts is None:
        warnings.append("the length of the run depends on the data set: set max_steps to see it here")
    elif loop.schedule.onset is not None:
        annealing = sum(r / max(rollouts - 1, 1) >= loop.schedule.onset for r in range(rollouts))
        if annealing < 5:
            warnings.append(
                f"the anneal has {annealing} of {rollouts} rollouts, and entropy follows a control with a delay of "
                "at least one: raise max_steps or the ratio"
            )
    if rollouts is not None and isinstance(loop.controller, SignStepController):
        reach = loop.controller.delta * rollouts
        span = loop.actuator.high - loop.actuator.low
        if reach < span / 2:
            warnings.append(
                f"sign_step moves the control by at most {reach:.3g} in {rollouts} rollouts, and the actuator's range "
                f"is {span:.3g} wide: raise delta"
            )
    if (
        args.use_vllm
        and args.vllm_importance_sampling_mode.startswith("sequence")
        and args.max_completion_length > 1024
    ):
        warnings.append(
            f"vllm_importance_sampling_mode {args.vllm_importance_sampling_mode} multiplies the mismatch over up to "
            f"{args.max_completion_length} tokens and drops most long completions: set token_truncate"
        )
    return warnings
