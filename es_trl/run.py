"""A recipe's run: its datasets and rewards, the training, the saved model and the last push."""

import re
import sys
from pathlib import Path
from typing import Any

from datasets import Dataset
from trl import get_peft_config, get_quantization_config

from .checkpoints.run_folder import find_start
from .common.refusals import run
from .common.writing import writing
from .config.field_checks import check_kernels
from .control.geometry import Geometry, check_trains
from .curriculum.datasets import check_enough
from .data.bars import no_bars_in_files
from .data.evaluation import load_evaluation
from .data.prompts import load_named
from .data.reading import is_local
from .data.tasks import check_rewards_fit
from .hub.push import PushError
from .recipe import Recipe, RecipeParser
from .tracking.history import summarize
from .trainer.trainer import ESGRPOTrainer


HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")


def run_script(script: str, reward: str | None = None) -> None:
    """
    Run the recipe of a script with the options of its command line, and exit with 2 where the recipe is refused.

    Args:
        script (`str`):
            `__file__` of the script. The YAML beside it is the recipe, unless `--config` names another.
        reward (`str`, *optional*):
            The reward where the recipe names none.
    """
    argv = sys.argv[1:]
    if argv and not argv[0].startswith("-"):
        argv = ["--config", *argv]  # a recipe may stand first, as behind `train`
    if not any(word == "--config" or word.startswith("--config=") for word in argv):
        argv = ["--config", str(Path(script).with_suffix(".yaml")), *argv]
    if code := run(lambda options: run_recipe(options, reward), argv):
        raise SystemExit(code)


def run_recipe(argv: list[str], reward: str | None = None) -> ESGRPOTrainer:
    """
    Run the recipe that `--config` names, with the options that override it.

    Args:
        argv (`list[str]`):
            Options, for example `["--config", "my_recipe.yaml", "--max_steps", "16"]`.
        reward (`str`, *optional*):
            The reward where the recipe names none.

    Returns:
        `ESGRPOTrainer`: the trainer, after training.

    Raises:
        ValueError: where the recipe is refused, before the model loads.
    """
    recipe = RecipeParser().parse(argv, reward)
    task = recipe.task
    if task is None:
        raise ValueError("`reward` must be set: set math, countdown or my_file.py:my_reward")
    with no_bars_in_files():
        rewards, datasets = task.rewards(), load_named(recipe.data, task.load)
        evaluated = load_evaluation(recipe.data, task, recipe.training, _each(datasets))
        for dataset in (*_each(datasets), *_each(evaluated)):
            check_rewards_fit(rewards, dataset.column_names)
        return train(recipe, datasets, rewards, evaluated)


def train(
    recipe: Recipe,
    dataset: Dataset | dict[str, Dataset],
    reward_funcs: Any,
    eval_dataset: Dataset | dict[str, Dataset] | None = None,
) -> ESGRPOTrainer:
    """
    Run a recipe: train, save the model, and push it where the recipe says so.

    Args:
        recipe (`Recipe`):
            The recipe, of which `data` and `reward` are not read.
        dataset (`Dataset` or `dict[str, Dataset]`):
            Rows with `prompt` and the columns that the reward reads; several by name for the stages of a curriculum.
        reward_funcs (reward function or list of them):
            As in `GRPOTrainer`.
        eval_dataset (`Dataset` or `dict[str, Dataset]`, *optional*):
            Rows of the same columns for evaluations; several by name are evaluated one after the other.

    Returns:
        `ESGRPOTrainer`: the trainer, after training.

    Raises:
        SystemExit: where the last push fails, with what to do; the model is saved then.
    """
    training, model = recipe.training, recipe.model
    check_trains(training)
    check_kernels(training)
    if not isinstance(dataset, dict):
        check_enough(dataset, Geometry.of(training).prompts)
    resume = _resume(training.resume_from_checkpoint)
    find_start(resume, Path(training.output_dir), measure=False)  # refused before the model loads
    own = {"revision": model.model_revision, "attn_implementation": model.attn_implementation, "dtype": model.dtype}
    training.model_init_kwargs = {**own, **(training.model_init_kwargs or {})}
    trainer = ESGRPOTrainer(
        model=model.model_name_or_path,
        reward_funcs=reward_funcs,
        args=training,
        train_dataset=dataset,
        eval_dataset=eval_dataset,
        quantization_config=get_quantization_config(model),
        peft_config=get_peft_config(model),
        recipe=recipe.given,
    )
    trainer.train(resume_from_checkpoint=resume)
    if trainer.was_finished and _has_model(Path(training.output_dir)):
        return trainer
    with writing(training.output_dir, "the model"):
        # a call from outside would push before the next line
        trainer.save_model(training.output_dir, _internal_call=True)
    done = [summarize(trainer.history.records)] if trainer.history.records else []
    trainer.accelerator.print(*done, f"model, card and history are in {training.output_dir}", sep="\n")
    if training.push_to_hub:
        _push(trainer, recipe.data.dataset_name)
    return trainer


def _each(datasets: Dataset | dict[str, Dataset] | None) -> list[Dataset]:
    """Return the datasets that one or several by name, or none, are."""
    return list(datasets.values()) if isinstance(datasets, dict) else [datasets] if datasets is not None else []


def _resume(value: str | bool | None) -> str | bool | None:
    """Return `resume_from_checkpoint`, which a command line gives as text, as `train` takes it."""
    return {"true": True, "false": None}.get(str(value).lower(), value)


def _has_model(folder: Path) -> bool:
    """Return whether a run has saved its model at its end; one that was killed just before has not."""
    return any((folder / name).exists() for name in ("config.json", "adapter_config.json"))


def _push(trainer: ESGRPOTrainer, dataset_name: str | None) -> None:
    """Push for the last time, after which the Hub has everything, or end the run with what to do about it."""
    # the Hub takes no card that names a dataset it has not
    on_hub = dataset_name is not None and not is_local(dataset_name) and HUB_NAME.fullmatch(dataset_name)
    try:
        trainer.push_to_hub(dataset_name=dataset_name if on_hub else None)
    except PushError as error:
        raise SystemExit(f"error: {error}") from error
    missed = ", ".join(map(str, sorted(trainer.missed_pushes)))
    earlier = f"; pushes of earlier saves were missed, at update {missed}" if missed else ""
    trainer.accelerator.print(f"and on the Hub, as {trainer.hub_model_id}{earlier}")
