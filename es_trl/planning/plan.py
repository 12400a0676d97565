"""What a recipe would do, without loading a model."""

from dataclasses import dataclass

from datasets import Dataset

from ..config.config import ESGRPOConfig
from ..control.geometry import Geometry, check_trains
from ..curriculum.datasets import check_dataset, check_enough
from ..curriculum.stages import BASE_DATA, plan_stages
from ..data.prompts import DataArguments, problems_of, prompts_of
from ..data.reading import is_local, read_rows
from ..data.row_filter import filter_rows
from ..recipe import Recipe, RecipeParser
from ..trainer.callback_list import collect_callbacks, find, prepare_callbacks, with_prompts
from ..trainer.callbacks import Curriculum, EntropyScheduler
from ..trainer.startup import report
from .gpus import gpu_of, planned_processes, read_launch
from .model_shape import NoEstimateError
from .summary import estimate


def plan(
    recipe_file: str,
    num_processes: int | None,
    overrides: list[str],
    config_file: str | None = None,
    gpu: str = "h100-80",
) -> str:
    """
    The plan of a recipe, for people.

    Args:
        recipe_file (`str`):
            The recipe's YAML.
        num_processes (`int`, *optional*):
            Processes that will train; those of `config_file`, or of this launch, where unset.
        overrides (`list[str]`):
            Options as on the recipe's command line.
        config_file (`str`, *optional*):
            The accelerate config of the launch: how the model is sharded, for the estimate of memory. Without it
            several processes are taken to be sharded by ZeRO-3.
        gpu (`str`):
            What it runs on (`hardware.py`).

    Raises:
        ValueError: where the run would be refused, or by estimate does not fit.
    """
    card = gpu_of(gpu)
    if num_processes is not None and num_processes < 1:
        raise ValueError(f"--num_processes is {num_processes}, and a run needs one: set 1 or more")
    processes = planned_processes(config_file, num_processes)
    recipe = RecipeParser(_planned_for(processes)).parse(["--config", recipe_file, *overrides])
    args = recipe.training
    check_trains(args)
    geometry = Geometry.of(args)
    named = recipe.data.named()
    datasets = _local_prompts(recipe)
    base = datasets.get(BASE_DATA)
    if base is not None:
        geometry = geometry.with_prompts(len(base), args.num_train_epochs)
    callbacks = collect_callbacks(args, [])
    if find(callbacks, Curriculum) is None:
        check_dataset(base if len(named) == 1 else named, False)
        check_enough(base, geometry.prompts)
    # what is not on this machine is taken to be large enough
    callbacks = with_prompts(callbacks, args, {name: datasets.get(name) for name in named})
    curriculum, scheduler = find(callbacks, Curriculum), find(callbacks, EntropyScheduler)
    prepare_callbacks(callbacks, args)
    text = report(args, geometry, scheduler, curriculum)
    if args.is_for_cpu:
        return text
    stages = curriculum.prompts.planned if curriculum else plan_stages((), args, geometry.rollouts, None, [BASE_DATA])
    try:
        launch = read_launch(config_file, processes)
        estimates = "" if launch.on_cpu else estimate(recipe, stages, geometry.rollouts, launch, (gpu, card))
    except NoEstimateError as unknown:
        estimates = f"no memory estimate: {unknown}\n"
    return f"{text}\n{estimates}" if estimates else text


def _local_prompts(recipe: Recipe) -> dict[str, Dataset]:
    """The prompts of each data set that is a file on this machine, by name."""
    return {
        name: _planned_prompts(own, _names_answers(recipe, name))
        for name, own in recipe.data.named().items()
        if own.dataset_name and is_local(own.dataset_name)
    }


def _names_answers(recipe: Recipe, name: str) -> bool:
    """Whether a recipe says where a data set has its answers, which not every reward reads."""
    own = (recipe.data.datasets or {}).get(name, {})
    return "answer_column" in recipe.given or "answer_column" in own


def _planned_prompts(args: DataArguments, has_answers: bool) -> Dataset:
    """
    The prompts that a script would take from a local file, as far as a plan can know without the script.

    Where the recipe names no column of answers, a script may make columns of its own, and read others than these. Then
    answers are not read, and a filter counts where its column is in the file.
    """
    rows = read_rows(args.dataset_name, args.dataset_config, args.dataset_split)
    bounds = args.dataset_filter or {}
    if has_answers:
        return problems_of(filter_rows(rows, bounds), args)
    known = {column: ends for column, ends in bounds.items() if rows.find(column) is not None}
    return prompts_of(filter_rows(rows, known), args)


def _planned_for(num_processes: int | None) -> type[ESGRPOConfig]:
    """The configuration class as a launch of so many processes, or of this one's, would see it, on any machine."""

    @dataclass
    class PlannedConfig(ESGRPOConfig):
        def __post_init__(self):
            self.is_for_cpu = self.use_cpu
            self.use_cpu = True  # a plan for GPUs is made where there are none
            super().__post_init__()

        @property
        def world_size(self) -> int:
            return super().world_size if num_processes is None else num_processes

    return PlannedConfig
