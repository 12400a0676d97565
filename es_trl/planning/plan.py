"""The plan of a recipe: what it would do, without loading a model."""

from dataclasses import dataclass

from datasets import Dataset

from ..common.shown import shown, wrapped
from ..config.config import ESGRPOConfig
from ..control.geometry import Geometry, check_trains
from ..curriculum.datasets import check_dataset, check_enough
from ..curriculum.planned import plan_stages
from ..curriculum.stages import BASE_DATA
from ..data.evaluation import count_seen
from ..data.prompts import problems_of, prompts_of
from ..data.reading import is_local, read_rows
from ..data.row_filter import filter_rows
from ..data.tasks import check_rewards_fit
from ..recipe import Recipe, RecipeParser
from ..trainer.callback_list import collect_callbacks, find_callback, prepare_callbacks, with_prompts
from ..trainer.callbacks import Curriculum, EntropyScheduler
from ..trainer.inputs import check_rewards
from ..trainer.model_folder import check_local_model
from ..trainer.startup import report
from .expected import expected
from .launch import GPUS, launch_of, read_config
from .model_shape import NoProjectionError
from .summary import summarize


def plan(recipe_file: str, num_processes: int | None, overrides: list[str], config_file: str | None, gpu: str) -> str:
    """Return the plan of a recipe as text; raise a ValueError where the run would be refused, or does not fit."""
    if gpu not in GPUS:
        raise ValueError(f"--gpu must be one of {', '.join(GPUS)}, got {gpu!r}")
    if num_processes is not None and num_processes < 1:
        raise ValueError(f"--num_processes must be 1 or more, got {num_processes}")
    config = None if config_file is None else read_config(config_file)
    processes = config.num_processes if num_processes is None and config else num_processes
    recipe = RecipeParser(_planned_for(processes)).parse([*overrides, "--config", recipe_file])
    args = recipe.training
    text, geometry, curriculum = describe_recipe(recipe)
    if args.is_for_cpu or (config and config.use_cpu):
        return text
    stages = curriculum.prompts.planned if curriculum else plan_stages((), args, geometry.rollouts, None, [BASE_DATA])
    try:
        launch = launch_of(config, processes)
        return f"{text}\n{summarize(recipe, stages, geometry.rollouts, launch, GPUS[gpu])}"
    except NoProjectionError as unknown:
        return f"{text}\n{wrapped(f'no memory projection: {unknown}')}\n"


def describe_recipe(recipe: Recipe) -> tuple[str, Geometry, Curriculum | None]:
    """
    Describe what a recipe would do, without its memory and time.

    Returns:
        `(str, Geometry, Curriculum | None)`: the text, the sizes, and the prepared stages.

    Raises:
        ValueError: where the run would be refused, as far as this machine can tell before a model loads.
    """
    args = recipe.training
    check_trains(args)
    geometry = Geometry.of(args)
    named, datasets = recipe.data.named(), _local_prompts(recipe)
    evaluated = _local_evaluation(recipe)
    _check_task(recipe, datasets, evaluated)
    base = datasets.get(BASE_DATA)
    if base is not None:
        geometry = geometry.with_prompts(len(base), args.num_train_epochs)
    callbacks = collect_callbacks(args, [])
    if find_callback(callbacks, Curriculum) is None:
        check_dataset(base if len(named) == 1 else named, False)
        check_enough(base, geometry.prompts)
    # what is not on this machine is taken to be large enough
    callbacks = with_prompts(callbacks, args, {name: datasets.get(name) for name in named})
    curriculum, scheduler = find_callback(callbacks, Curriculum), find_callback(callbacks, EntropyScheduler)
    prepare_callbacks(callbacks, args)
    expectation = expected(scheduler.loop.actuators) if scheduler else ""
    parts = (report(args, geometry, scheduler, curriculum), expectation, _describe_task(recipe, datasets, evaluated))
    text = "\n".join(filter(None, parts))
    return text, geometry, curriculum


def _local_prompts(recipe: Recipe) -> dict[str, Dataset]:
    """Return the prompts of each dataset that is a file on this machine, by name."""
    prompts = {}
    for name, own in recipe.data.named().items():
        task = recipe.task
        if task is not None and not task.reads_hub(own):
            prompts[name] = task.load(own)
        if task is not None or not own.dataset_name or not is_local(own.dataset_name):
            continue
        rows, bounds = read_rows(own.dataset_name, own.dataset_config, own.dataset_split), own.dataset_filter or {}
        if "answer_column" in recipe.given or "answer_column" in (recipe.data.datasets or {}).get(name, {}):
            prompts[name] = problems_of(filter_rows(rows, bounds), own)
        else:  # a user's script may make columns: neither answers nor filters of columns that the file lacks are read
            known = {column: ends for column, ends in bounds.items() if rows.find(column) is not None}
            prompts[name] = prompts_of(filter_rows(rows, known), own)
    return prompts


def _local_evaluation(recipe: Recipe) -> dict[str, Dataset]:
    """Return the evaluation datasets on this machine by name; those of a user's own script are only opened."""
    task = recipe.task
    if task is None:
        for own in recipe.data.evaluated().values():
            if own.dataset_name and is_local(own.dataset_name):
                read_rows(own.dataset_name, own.dataset_config, own.dataset_split)
        return {}
    named = task.evaluated(recipe.data, recipe.training)
    return {name: task.load_evaluation(own) for name, own in named.items() if not task.reads_hub(own)}


def _check_task(recipe: Recipe, datasets: dict[str, Dataset], evaluated: dict[str, Dataset]) -> None:
    """Raise where a run would refuse the rewards or the model, as far as this machine has them."""
    if recipe.task is None:
        return
    rewards = recipe.task.rewards()
    check_rewards(rewards, False, recipe.training)
    known = (*datasets.values(), *evaluated.values())
    for dataset in known:
        check_rewards_fit(rewards, dataset.column_names)
    has_chats = any(not isinstance(dataset[0]["prompt"], str) for dataset in known)
    check_local_model(recipe.model.model_name_or_path, has_chats, recipe.training)


def _describe_task(recipe: Recipe, datasets: dict[str, Dataset], evaluated: dict[str, Dataset]) -> str:
    """Return the rewards and the first prompt of each dataset on this machine, as lines of a plan."""
    if recipe.task is None:
        return ""
    weights = recipe.training.reward_weights or [1.0] * len(recipe.reward.names)
    rewards = ", ".join(f"{name} (x {weight:g})" for name, weight in zip(recipe.reward.names, weights, strict=True))
    lines = [f"rewards     {rewards}"]
    for name, dataset in datasets.items():
        prompt = dataset[0]["prompt"]
        first = prompt if isinstance(prompt, str) else prompt[-1]["content"]
        lines.append(f"prompts     {len(dataset)} in {name!r}, the first is {shown(first, 100)}")
    for name, count in count_seen(datasets.values(), evaluated).items():
        also = f", {count} of them also in training" if count else ""
        lines.append(f"evaluation  {len(evaluated[name])} prompts in {name!r}{also}")
    return "\n".join(lines) + "\n"


def _planned_for(num_processes: int | None) -> type[ESGRPOConfig]:
    """Return the configuration class as a launch of so many processes, or of this one's, sees it, on any machine."""

    @dataclass
    class PlannedConfig(ESGRPOConfig):
        def __post_init__(self) -> None:
            self.is_for_cpu = self.use_cpu
            self.use_cpu = True  # a plan for GPUs is made where there are none
            super().__post_init__()

        @property
        def world_size(self) -> int:
            return super().world_size if num_processes is None else num_processes

    return PlannedConfig
