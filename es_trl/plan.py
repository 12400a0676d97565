"""What a recipe would do, without loading a model."""

from dataclasses import dataclass

from .callbacks import Curriculum, EntropyScheduler, collect_callbacks, find, prepare_callbacks
from .config import ESGRPOConfig
from .curriculum import BASE_DATA
from .data import is_local, load_rows
from .geometry import Geometry
from .recipe import RecipeParser
from .report import report
from .train_data import check_dataset


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
    named = recipe.data.named()
    datasets = {name: load_rows(own) for name, own in named.items() if own.dataset_name and is_local(own.dataset_name)}
    base = datasets.get(BASE_DATA)
    if base is not None:
        geometry = geometry.with_prompts(len(base), args.num_train_epochs)
    callbacks = collect_callbacks(args, [])
    curriculum, scheduler = find(callbacks, Curriculum), find(callbacks, EntropyScheduler)
    if curriculum is None:
        check_dataset(base if len(named) == 1 else named, geometry.prompts)
    else:
        # what is not on this machine is taken to be large enough
        curriculum.datasets = {name: datasets.get(name) for name in named}
    prepare_callbacks(callbacks, args)
    return report(args, geometry, scheduler, curriculum)


def _planned_for(num_processes: int) -> type[ESGRPOConfig]:
    """The configuration class as a launch of `num_processes` processes would see it."""

    @dataclass
    class PlannedConfig(ESGRPOConfig):
        @property
        def world_size(self) -> int:
            return num_processes

    return PlannedConfig
