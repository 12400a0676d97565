"""Countdown prompts of a recipe: generated, or from a file."""

import re

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
    if not name.startswith(GENERATED):
        rows = load_rows(args, ("numbers", "target"))
        columns = {"prompt": args.prompt_column, "numbers": "numbers", "target": "target"}
        dataset = Dataset.from_dict({name: rows[column] for name, column in columns.items()})
        return dataset.add_column("count", [len(numbers) for numbers in dataset["numbers"]])
    if not re.fullmatch(r"[2-6](,[2-6])*", name.removeprefix(GENERATED)):
        raise ValueError(
            f"dataset_name is {name!r}, and behind {GENERATED!r} stand counts of numbers from 2 to 6: set countdown:3 "
            "or countdown:3,4"
        )
    counts = tuple(int(count) for count in name.removeprefix(GENERATED).split(","))
    dataset = countdown_dataset(NUM_PROMPTS, seed=seed, num_numbers=counts)
    dataset = dataset.add_column("count", [len(numbers) for numbers in dataset["numbers"]])
    return filter_rows(dataset, args.dataset_filter or {}, name)
