"""What a trainer takes as training data: a data set, or several by name for the stages of a curriculum."""

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
    Raise for several data sets without stages, and where the column `prompt` is missing; `name` is for messages.

    With `has_environment` an `environment_factory` gives the prompts. TRL checks streams and a missing data set itself.
    """
    if isinstance(dataset, dict):
        raise ValueError(
            f"{name} is a dict of data sets ({', '.join(dataset)}): set `curriculum`, whose stages name them, or give "
            "one data set"
        )
    if isinstance(dataset, Dataset) and "prompt" not in dataset.column_names and not has_environment:
        raise ValueError(
            f"{name} has no column 'prompt'{nearest('prompt', dataset.column_names)}; it has "
            f"{', '.join(dataset.column_names)}: rename the column with the prompts"
        )


def check_enough(dataset: Any, prompts_per_rollout: int, name: str = "train_dataset") -> None:
    """Raise where data cannot fill one rollout; a stream shows that only when it is read."""
    if isinstance(dataset, Dataset) and len(dataset) < prompts_per_rollout:
        raise ValueError(
            f"{name} has {len(dataset)} prompts and one rollout takes {prompts_per_rollout}: set steps_per_generation "
            "lower, num_generations higher, or add prompts"
        )


def named_datasets(train_dataset: Any, has_environment: bool = False) -> dict[str, Dataset]:
    """Return the data sets of a curriculum by name, of which a single one is called `train`, or raise for a stream."""
    named = dict(train_dataset) if isinstance(train_dataset, dict) else {BASE_DATA: train_dataset}
    for name, dataset in named.items():
        if not isinstance(dataset, Dataset):
            raise ValueError(
                f"the data set {name!r} must be a datasets.Dataset for stages and dynamic sampling, which draw prompts "
                f"by their row, got {type(dataset).__name__}: give one, or several by name in a dict"
            )
        named_as = "train_dataset" if dataset is train_dataset else f"the data set {name!r}"
        check_dataset(dataset, has_environment, named_as)
        check_enough(dataset, 1, named_as)
    return named


def check_stages(planned: Sequence[PlannedStage], datasets: dict[str, Dataset | None]) -> None:
    """Raise for stages that their data sets cannot fill, or that mix data sets with other columns."""
    for stage in planned:
        used = {name: datasets[name] for name in stage.data}
        if None in used.values():
            continue  # a plan without the data
        first, *others = used
        for name in others:
            mixes = f"stage {stage.index} mixes the data sets {first!r} and {name!r}, of which"
            if len({isinstance(used[each][0].get("prompt"), str) for each in (first, name)}) > 1:
                raise ValueError(f"{mixes} one has prompts of text and the other of messages: make both the same")
            if differ := set(used[first].column_names) ^ set(used[name].column_names):
                raise ValueError(f"{mixes} only one has {', '.join(sorted(differ))}: give both the same columns")
        for name, share in stage.data.items():
            needed = stage.prompts if share == 1.0 else min(math.ceil(share * stage.prompts) + 1, stage.prompts)
            if len(used[name]) < needed:
                raise ValueError(
                    f"stage {stage.index} takes up to {needed} prompts of {name!r} for one rollout, and it has "
                    f"{len(used[name])}: give it a smaller weight, a wider filter or more rows, or set num_generations "
                    "higher"
                )


def check_replaceable(datasets: dict[str, Dataset], kwargs: dict[str, Any]) -> None:
    """Raise where a prompt is more than its row, so that it cannot be replaced; `kwargs` are those of `GRPOTrainer`."""
    columns = {column for dataset in datasets.values() for column in dataset.column_names}
    found = [name for name in ("tools", "environment_factory") if kwargs.get(name)]
    found += sorted({"image", "images"} & columns)
    if found:
        raise ValueError(
            f"dynamic sampling together with {', '.join(found)}, which TRL sets up for a whole rollout, cannot replace "
            "single prompts: set dynamic_sampling_tries: 0"
        )
