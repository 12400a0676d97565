"""What a trainer takes as training data: a data set, or several by name for the stages of a curriculum."""

import math
from collections.abc import Sequence
from typing import Any

from datasets import Dataset, IterableDataset

from ..common.nearest import nearest
from .stages import BASE_DATA, PlannedStage


def check_dataset(
    dataset: Dataset | IterableDataset | dict[str, Dataset] | None, has_environment: bool, name: str = "train_dataset"
) -> None:
    """
    Refuse training data that no rollout can take; `name` is for messages.

    Args:
        dataset (`Dataset`, `IterableDataset` or `dict`, *optional*):
            What the trainer was given. TRL checks streams and a missing data set itself.
        has_environment (`bool`):
            Whether an `environment_factory` gives the prompts, so that the data may have none.

    Raises:
        ValueError: for several data sets without stages, and where the `prompt` column is missing.
    """
    if isinstance(dataset, dict):
        raise ValueError(
            f"{name} is a dict of data sets ({', '.join(dataset)}) and nothing says which to take: set `curriculum`, "
            "whose stages name them, or give one data set"
        )
    if isinstance(dataset, Dataset) and "prompt" not in dataset.column_names and not has_environment:
        raise ValueError(
            f"{name} has no column 'prompt'{nearest('prompt', dataset.column_names)}; it has "
            f"{', '.join(dataset.column_names)}: rename the column with the prompts"
        )


def check_enough(dataset: Any, prompts_per_rollout: int, name: str = "train_dataset") -> None:
    """
    Refuse training data that cannot fill one rollout; a stream shows that only when it is read.

    Raises:
        ValueError: where there are fewer rows than a rollout has prompts.
    """
    if isinstance(dataset, Dataset) and len(dataset) < prompts_per_rollout:
        raise ValueError(
            f"{name} has {len(dataset)} prompts and one rollout takes {prompts_per_rollout}, so not one could "
            "be filled: set steps_per_generation lower, num_generations higher, or add prompts"
        )


def named_datasets(train_dataset: Any, has_environment: bool = False) -> dict[str, Dataset]:
    """
    The data sets of a curriculum by name; a single one is called `train`.

    Args:
        train_dataset (`Dataset` or `dict[str, Dataset]`):
            What the trainer was given.
        has_environment (`bool`):
            Whether an `environment_factory` gives the prompts.

    Raises:
        ValueError: where there is none, or one has no length or is empty.
    """
    named = dict(train_dataset) if isinstance(train_dataset, dict) else {BASE_DATA: train_dataset}
    for name, dataset in named.items():
        if not isinstance(dataset, Dataset):
            raise ValueError(
                f"the data set {name!r} is of {type(dataset).__name__}, and stages and dynamic sampling draw prompts "
                "by their row: give a datasets.Dataset, or several by name in a dict"
            )
        named_as = "train_dataset" if dataset is train_dataset else f"the data set {name!r}"
        check_dataset(dataset, has_environment, named_as)
        check_enough(dataset, 1, named_as)
    return named


def check_stages(planned: Sequence[PlannedStage], datasets: dict[str, Dataset | None]) -> None:
    """
    Refuse stages that their data sets cannot fill.

    Raises:
        ValueError: where one has fewer prompts than its share of a rollout, or those that are mixed have other columns.
    """
    for stage in planned:
        if any(datasets[name] is None for name in stage.data):
            continue  # a plan without the data
        first, *others = stage.data
        for name in others:
            if _is_text(datasets[first]) != _is_text(datasets[name]):
                raise ValueError(
                    f"stage {stage.index} mixes the data sets {first!r} and {name!r}, of which one has prompts of text "
                    "and the other of messages: make both the same"
                )
            differ = set(datasets[first].column_names) ^ set(datasets[name].column_names)
            if differ:
                raise ValueError(
                    f"stage {stage.index} mixes the data sets {first!r} and {name!r}, of which only one has "
                    f"{', '.join(sorted(differ))}: rewards read the columns of a whole rollout, so give both the same"
                )
        for name, share in stage.data.items():
            needed = stage.prompts if share == 1.0 else min(math.ceil(share * stage.prompts) + 1, stage.prompts)
            if len(datasets[name]) < needed:
                raise ValueError(
                    f"stage {stage.index} takes up to {needed} prompts of {name!r} for one rollout, and it has "
                    f"{len(datasets[name])}: give it a smaller weight, a wider filter or more rows, or set "
                    "num_generations higher"
                )


def _is_text(dataset: Dataset) -> bool:
    return isinstance(dataset[0].get("prompt"), str)


def check_replaceable(datasets: dict[str, Dataset], kwargs: dict[str, Any]) -> None:
    """Refuse dynamic sampling where a prompt is more than its row: `kwargs` are those of `GRPOTrainer`."""
    columns = {column for dataset in datasets.values() for column in dataset.column_names}
    found = [name for name in ("tools", "environment_factory") if kwargs.get(name)]
    found += sorted({"image", "images"} & columns)
    if found:
        raise ValueError(
            f"dynamic sampling together with {', '.join(found)}: TRL sets these up for a rollout as a whole, so single "
            "prompts cannot be replaced. Set dynamic_sampling_tries: 0"
        )
