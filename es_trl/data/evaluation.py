"""The evaluation data of a recipe, and how much of them training has too."""

from collections.abc import Iterable, Mapping

from datasets import Dataset
from transformers.utils import logging

from ..config.config import ESGRPOConfig
from .arguments import EVAL_DATA, DataArguments
from .tasks import Task


logger = logging.get_logger(__name__)


def load_evaluation(
    args: DataArguments, task: Task, training: ESGRPOConfig, train: Iterable[Dataset]
) -> Dataset | dict[str, Dataset] | None:
    """
    Return what a trainer takes as `eval_dataset`, and warn where training has some of its prompts, too.

    Args:
        args (`DataArguments`), task (`Task`), training (`ESGRPOConfig`):
            Those of the recipe.
        train (iterable of `Dataset`):
            The training datasets.

    Returns:
        `Dataset`, `dict[str, Dataset]` or `None`: one dataset, several by name, or `None` without evaluations.

    Raises:
        ValueError: as [`Task.evaluated`] and [`Task.load`].
    """
    named = {name: task.load_evaluation(own) for name, own in task.evaluated(args, training).items()}
    seen = count_seen(train, named)
    for name, count in seen.items():
        if count and training.process_index == 0:
            logger.warning(f"{count} of the {len(named[name])} prompts in {name!r} are also prompts of training")
    return named[EVAL_DATA] if list(named) == [EVAL_DATA] else named or None


def count_seen(train: Iterable[Dataset], evaluated: Mapping[str, Dataset]) -> dict[str, int]:
    """Return the number of rows of each evaluation dataset whose prompts are also in one of `train`."""
    known = {str(prompt) for dataset in train for prompt in dataset["prompt"]} if evaluated else set()
    return {name: sum(str(prompt) in known for prompt in each["prompt"]) for name, each in evaluated.items()}
