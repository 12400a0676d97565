"""What a recipe would do, without loading a model."""

from dataclasses import dataclass
from pathlib import Path

from .callbacks import EntropyScheduler
from .config import ESGRPOConfig
from .data import LOCAL_FORMATS, check_dataset, load_rows
from .geometry import Geometry
from .recipe import RecipeParser
from .report import report


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
    recipe = RecipeParser(training_class).parse(["--config", recipe_file, "--use_cpu", "true", *overrides])
    args = recipe.training
    geometry = Geometry.of(args)
    name = recipe.data.dataset_name
    if name is not None and (Path(name).suffix in LOCAL_FORMATS or Path(name).exists()):
        dataset = load_rows(recipe.data)
        check_dataset(dataset, geometry.prompts)
        geometry = geometry.with_prompts(len(dataset), args.num_train_epochs)
    parts = args.build_parts()
    if parts is None:
        return report(args, geometry, None)
    scheduler = EntropyScheduler(*parts)
    scheduler.prepare(args)
    return report(args, geometry, scheduler.loop)


def _planned_for(num_processes: int) -> type[ESGRPOConfig]:
    """The configuration class as a launch of `num_processes` processes would see it."""

    @dataclass
    class PlannedConfig(ESGRPOConfig):
        @property
        def world_size(self) -> int:
            return num_processes

    return PlannedConfig
