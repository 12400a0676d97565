"""The Countdown prompts that a recipe names, generated or from a file."""

import functools
import re
from typing import Any

from datasets import Dataset, concatenate_datasets

from ..common.shown import shown
from ..data.prompt_column import plain_prompts
from ..data.prompts import DataArguments
from ..data.reading import part_of, read_rows
from ..data.row_filter import filter_rows
from ..data.rows import Rows
from ..data.tasks import EVALUATION_SEED
from .countdown import countdown_dataset


NUM_PROMPTS = 20_000
NUM_EVALUATION_PROMPTS = 200
GENERATED = "countdown:"  # the beginning of the name of a generated dataset


def load_countdown(args: DataArguments, seed: int, num_prompts: int = NUM_PROMPTS) -> Dataset:
    """
    Return the prompts that a recipe of the lab names.

    Args:
        args (`DataArguments`):
            Arguments of the dataset. If `dataset_name` is unset or `countdown:3`, the dataset has 20,000 prompts of
            three numbers. With `countdown:3,4` they have three or four numbers. `dataset_split` may name a part of
            them. Any other name is a file or a dataset with the columns `prompt`, `numbers` and `target`.
        seed (`int`):
            Seed of the generator. The same seed gives the same prompts.
        num_prompts (`int`, *optional*, defaults to `20000`):
            Number of prompts that are generated.

    Returns:
        `Dataset`: columns `prompt`, `numbers`, `target` and `count`. `count` is the count of numbers, for
        `dataset_filter`.

    Raises:
        ValueError: for a name `countdown:` without valid counts, a `prompt_suffix`, or rows that cannot be read or
            that are not Countdown tasks.
    """
    if args.prompt_suffix:
        raise ValueError(
            f"`prompt_suffix` must be empty for the Countdown lab, whose model reads only Countdown tasks, got "
            f"{args.prompt_suffix!r}: leave it out"
        )
    name = args.dataset_name or f"{GENERATED}3"
    if name.startswith(GENERATED) and args.prompt_template is not None:
        raise ValueError(
            f"`prompt_template` must be unset for generated prompts ({name}), which have no columns of yours, got "
            f"{args.prompt_template!r}: set dataset_name to your file"
        )
    if not name.startswith(GENERATED):
        return countdown_of(read_rows(name, args.dataset_config, args.dataset_split), args)
    dataset = _generate(name, seed, num_prompts)
    part = part_of(len(dataset), args.dataset_split, f"the generated prompts {name}")
    if not part:
        raise ValueError(f"`dataset_split` must name rows of {name}, got {args.dataset_split!r}: set it to train")
    return _filter(dataset.select(part) if len(part) < len(dataset) else dataset, name, args)


def is_generated(args: DataArguments) -> bool:
    """Return whether the prompts are generated, not read."""
    return (args.dataset_name or GENERATED).startswith(GENERATED)


def load_evaluation_prompts(args: DataArguments) -> Dataset:
    """Return the prompts of an evaluation, as [`load_countdown`]; generated ones are 200, the same in every run."""
    return load_countdown(args, EVALUATION_SEED, NUM_EVALUATION_PROMPTS)


def countdown_of(rows: Rows, args: DataArguments) -> Dataset:
    """Return the prompts of given rows that `dataset_filter` keeps, with the columns of [`load_countdown`]."""
    prompts = plain_prompts(rows, args)
    numbers, targets = rows.filled("numbers"), rows.filled("target")
    must = "which must hold a list of integers: correct or drop the row"
    rows.refuse({at: f"has {shown(own)} in 'numbers', {must}" for at, own in enumerate(numbers) if not _are_ints(own)})
    must = "which must hold an integer: correct or drop the row"
    rows.refuse({at: f"has {shown(own)} in 'target', {must}" for at, own in enumerate(targets) if not _are_ints([own])})
    dataset = rows.to_dataset(("numbers", "target"))  # other columns are for rewards of one's own
    others = [name for name in dataset.column_names if name not in ("prompt", "numbers", "target", "count")]
    task = Dataset.from_dict({"prompt": prompts, "numbers": numbers, "target": targets})
    dataset = concatenate_datasets([task, dataset.select_columns(others)], axis=1) if others else task
    return _filter(dataset, rows.name, args)


def _are_ints(values: Any) -> bool:
    return isinstance(values, list) and values != [] and all(type(value) is int for value in values)


def _filter(dataset: Dataset, name: str, args: DataArguments) -> Dataset:
    dataset = dataset.add_column("count", [len(numbers) for numbers in dataset["numbers"]])
    return filter_rows(Rows(name, dataset, range(len(dataset))), args.dataset_filter or {}).to_dataset()


@functools.cache  # a recipe may name the same dataset several times, with different filters
def _generate(name: str, seed: int, num_prompts: int) -> Dataset:
    if not re.fullmatch(r"[2-6](,[2-6])*", name.removeprefix(GENERATED)):
        raise ValueError(
            f"`dataset_name` must have counts from 2 to 6 after {GENERATED!r}, got {name!r}: set for example "
            "countdown:3 or countdown:3,4"
        )
    counts = tuple(int(count) for count in name.removeprefix(GENERATED).split(","))
    return countdown_dataset(num_prompts, seed=seed, num_numbers=counts)
