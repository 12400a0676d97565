"""Checks of the training data: one dataset, or several by name for the stages of a curriculum."""

import math
from collections.abc import Sequence
from typing import Any

from datasets import Dataset, IterableDataset

from ..common.nearest import nearest
from .planned import PlannedStage
from .stages import BASE_DATA


def check_dataset(
    dataset: Dataset | IterableDataset | dict[str, Dataset] | None, has_environment: bool, name: str = "train_dataset"
) -> None:
    """
    Raise `ValueError` for several datasets (which need stages), and for a dataset without the column `prompt`.

    With `has_environment` the column may be missing, because an `environment_factory` gives the prompts. TRL itself
    checks streams and a missing dataset. `name` is the subject of the messages.
    """
    if isinstance(dataset, dict):
        raise ValueError(
            f"{name} is a dict of datasets ({', '.join(dataset)}) but there is no curriculum: set `curriculum` with "
            "stages that name them, or give one dataset"
        )
    if isinstance(dataset, Dataset) and "prompt" not in dataset.column_names and not has_environment:
        raise ValueError(
            f"{name} must have a column 'prompt', got {', '.join(dataset.column_names) or 'none'}: rename the column "
            f"with the prompts{nearest('prompt', dataset.column_names)}"
        )


def check_enough(dataset: Any, prompts_per_rollout: int, name: str = "train_dataset") -> None:
    """Raise `ValueError` if a dataset has too few prompts for one rollout; the length of a stream is not known."""
    if isinstance(dataset, Dataset) and len(dataset) < prompts_per_rollout:
        raise ValueError(
            f"{name} has {len(dataset)} prompts but one rollout takes {prompts_per_rollout}: set steps_per_generation "
            "lower, num_generations higher, or add prompts"
        )


def named_datasets(train_dataset: Any, has_environment: bool = False) -> dict[str, Dataset]:
    """Return the datasets of a curriculum by name; raise `ValueError` for a stream. A single one is named `train`."""
    named = dict(train_dataset) if isinstance(train_dataset, dict) else {BASE_DATA: train_dataset}
    for name, dataset in named.items():
        if not isinstance(dataset, Dataset):
            raise ValueError(
                f"the dataset {name!r} must be a datasets.Dataset for stages, dynamic sampling and early exit, "
                f"which draw prompts by their row, got {type(dataset).__name__}: give one, or several by name in a dict"
            )
        named_as = "train_dataset" if dataset is train_dataset else f"the dataset {name!r}"
        check_dataset(dataset, has_environment, named_as)
        check_enough(dataset, 1, named_as)
    return named


def check_stages(planned: Sequence[PlannedStage], datasets: dict[str, Dataset | None]) -> None:
    """Raise `ValueError` if datasets are too small for a stage, or if a stage mixes datasets that do not match."""
    for stage in planned:
        used = {name: datasets[name] for name in stage.data}
        if None in used.values():
            continue  # `es_trl plan` may not have the data
        first, *others = used
        for name in others:
            mixes = f"stage {stage.index} mixes the datasets {first!r} and {name!r} but"
            if len({isinstance(used[each][0].get("prompt"), str) for each in (first, name)}) > 1:
                raise ValueError(f"{mixes} one has prompts of text and the other has messages: change one of them")
            columns = [set(used[each].column_names) for each in (first, name)]
            if differ := sorted(columns[0] ^ columns[1]):
                raise ValueError(f"{mixes} their columns differ in {', '.join(differ)}: give both the same columns")
        for name, share in stage.data.items():
            needed = stage.prompts if share == 1.0 else min(math.ceil(share * stage.prompts) + 1, stage.prompts)
            if len(used[name]) < needed:
                raise ValueError(
                    f"stage {stage.index} takes up to {needed} prompts of {name!r} per rollout but this dataset has "
                    f"only {len(used[name])}: give it a smaller weight, a wider filter or more rows, or set "
                    "num_generations higher"
                )


def check_replaceable(datasets: dict[str, Dataset], kwargs: dict[str, Any]) -> None:
    """
    Raise `ValueError` if single prompts cannot be replaced, because of tools, environments or images.

    `kwargs` are the arguments of `GRPOTrainer`.
    """
    columns = {column for dataset in datasets.values() for column in dataset.column_names}
    found = [name for name in ("tools", "environment_factory") if kwargs.get(name)]
    found += sorted({"image", "images"} & columns)
    if found:
        raise ValueError(
            f"dynamic sampling cannot replace single prompts with {', '.join(found)}, because TRL prepares these for a "
            "whole rollout: set dynamic_sampling_tries and early_generations to 0"
        )
