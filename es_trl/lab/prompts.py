"""Countdown prompts of a recipe: generated, or from a file."""

import functools
import re
from dataclasses import replace

from datasets import Dataset

from ..data import DataArguments, filter_rows, load_rows
from .countdown import countdown_dataset


NUM_PROMPTS = 20_000
GENERATED = "countdown:"  # what a generated data set's name begins with


def load_countdown(args: DataArguments, seed: int) -> Dataset:
    """
    The prompts that a recipe of the lab names.

    Args:
        args (`DataArguments`):
            With `dataset_name` unset or `countdown:3` these are 20,000 prompts of three numbers, with `countdown:3,4`
            of three or four; else the rows of a file with columns `prompt`, `numbers` and `target`.
        seed (`int`):
            Of the generator: the same prompts for the same seed.

    Returns:
        `Dataset`: columns `prompt`, `numbers`, `target` and `count`, the count of numbers, by which `dataset_filter`
        can choose.

    Raises:
        ValueError: for a name that says no counts, and as [`load_rows`].
    """
    name = args.dataset_name or f"{GENERATED}3"
    dataset = _generate(name, seed) if name.startswith(GENERATED) else _read(args)
    dataset = dataset.add_column("count", [len(numbers) for numbers in dataset["numbers"]])
    return filter_rows(dataset, args.dataset_filter or {}, name)


def _read(args: DataArguments) -> Dataset:
    rows = load_rows(replace(args, dataset_filter=None), ("numbers", "target"))
    columns = {"prompt": args.prompt_column, "numbers": "numbers", "target": "target"}
    return Dataset.from_dict({name: rows[column] for name, column in columns.items()})


@functools.cache  # data sets of a recipe that differ by their filter are drawn once
def _generate(name: str, seed: int) -> Dataset:
    if not re.fullmatch(r"[2-6](,[2-6])*", name.removeprefix(GENERATED)):
        raise ValueError(
            f"dataset_name is {name!r}, and behind {GENERATED!r} stand counts of numbers from 2 to 6: set countdown:3 "
            "or countdown:3,4"
        )
    counts = tuple(int(count) for count in name.removeprefix(GENERATED).split(","))
    return countdown_dataset(NUM_PROMPTS, seed=seed, num_numbers=counts)
