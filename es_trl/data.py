"""Prompts from a Hub data set or a local file, with the columns that a recipe asks for."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import yaml
from datasets import Dataset, load_dataset
from datasets.exceptions import DatasetGenerationError

from .blocks import nearest
from .curriculum import BASE_DATA
from .rewards.math import final_answer


LOCAL_FORMATS = {".json": "json", ".jsonl": "json", ".parquet": "parquet"}


_EXAMPLES = {
    "dataset_filter": "{level: [0, 2]}",
    "datasets": "{hard: {dataset_name: hard.jsonl, dataset_filter: {level: [4, 5]}}}",
}


@dataclass
class DataArguments:
    """
    Where the prompts come from.

    Parameters:
        dataset_name (`str`, *optional*):
            Data set on the Hub, or a local `.json`, `.jsonl` or `.parquet` file.
        dataset_config (`str`, *optional*):
            Configuration of a Hub data set.
        dataset_split (`str`):
            Split of a Hub data set; a local file has the split `train`.
        prompt_column (`str`):
            Column with the problem: text, or a list of chat messages.
        answer_column (`str`):
            Column with the right answer; `a.b` names the field `b` of a nested column `a`.
        prompt_suffix (`str`):
            Instruction put after the text of a problem.
        dataset_filter (`dict`, *optional*):
            Which rows to keep, by numeric columns: `{level: [0, 2]}` keeps those whose `level` is from 0 to 2, both
            included; `null` leaves an end open.
        datasets (`dict`, *optional*):
            More data sets for the stages of a curriculum: names, and for each a mapping of the keys above. What a
            mapping does not give is as above. The data set above is called `train`.
    """

    dataset_name: str | None = field(default=None, metadata={"help": "Hub data set, or a local JSON(L)/Parquet file."})
    dataset_config: str | None = field(default=None, metadata={"help": "Configuration of a Hub data set."})
    dataset_split: str = field(default="train", metadata={"help": "Split; a local file has the split 'train'."})
    prompt_column: str = field(default="prompt", metadata={"help": "Column with the problem."})
    answer_column: str = field(default="solution", metadata={"help": "Column with the right answer."})
    prompt_suffix: str = field(default="", metadata={"help": "Instruction put after the text of a problem."})
    dataset_filter: dict[str, Any] | str | None = field(
        default=None, metadata={"help": "Rows to keep, by numeric columns: {level: [0, 2]}."}
    )
    datasets: dict[str, Any] | str | None = field(
        default=None, metadata={"help": "More data sets, by name, for the stages of a curriculum."}
    )

    def __post_init__(self):
        for name in ("dataset_filter", "datasets"):
            value = getattr(self, name)
            if isinstance(value, str):  # as it comes from a command line
                value = None if value == "none" else yaml.safe_load(value)
                setattr(self, name, value)
            if value is not None and not isinstance(value, dict):
                raise ValueError(f"`{name}` is {value!r}, and it is a mapping: set for example {_EXAMPLES[name]}")

    def named(self) -> dict[str, "DataArguments"]:
        """
        Every data set's own arguments, that of the top level first, which is called `train`.

        Raises:
            ValueError: for a name that is taken, or an unknown key.
        """
        base = replace(self, datasets=None)
        named = {BASE_DATA: base}
        known = [f.name for f in fields(DataArguments) if f.name != "datasets"]
        for name, values in (self.datasets or {}).items():
            if name == BASE_DATA:
                raise ValueError(f"`datasets` names a data set {name!r}, which is the top level's: choose another name")
            if not isinstance(values, dict):
                raise ValueError(f"`datasets` has {values!r} for {name!r}: set a mapping, as {_EXAMPLES['datasets']}")
            for key in values:
                if key not in known:
                    raise ValueError(
                        f"`datasets` has an unknown key {key!r} for {name!r}{nearest(str(key), known)}: it takes "
                        f"{', '.join(known)}"
                    )
            named[name] = replace(base, **values)
        return named


def load_rows(args: DataArguments, columns: tuple[str, ...] = ()) -> Dataset:
    """
    The rows of a data set, which has the prompt column and the given ones.

    Args:
        args (`DataArguments`):
            Which data set.
        columns (`tuple[str, ...]`):
            Columns that the recipe reads beside `prompt_column`.

    Raises:
        ValueError: for a file that is missing or of another format, an empty data set, or a missing column.
    """
    if args.dataset_name is None:
        raise ValueError(
            "no data set is named: set dataset_name to one of the Hub or to a local .jsonl or .parquet file"
        )
    path = Path(args.dataset_name)
    if path.suffix in LOCAL_FORMATS:
        if not path.is_file():
            raise ValueError(f"the data set {path} does not exist: set dataset_name to a file that does")
        if path.stat().st_size == 0:
            raise ValueError(f"the data set {path} is empty: set dataset_name to a file with prompts")
        try:
            dataset = load_dataset(LOCAL_FORMATS[path.suffix], data_files=str(path), split=args.dataset_split)
        except (DatasetGenerationError, ValueError) as error:
            raise ValueError(
                f"the data set {path} gives no rows ({error.__cause__ or error}): it must hold records of the same "
                f"columns, in {LOCAL_FORMATS[path.suffix]} format, and dataset_split must be 'train'"
            ) from error
    elif path.exists():
        raise ValueError(
            f"the data set {path} is a {'folder' if path.is_dir() else f'{path.suffix} file'}: set dataset_name to a "
            f"file ending in {', '.join(LOCAL_FORMATS)}"
        )
    else:
        try:
            dataset = load_dataset(args.dataset_name, args.dataset_config, split=args.dataset_split)
        except (ConnectionError, FileNotFoundError) as error:
            raise ValueError(
                f"the data set {args.dataset_name} is no file here, and cannot be had from the Hub ({error}): set "
                "dataset_name to a local file, or check name and connection"
            ) from error
    columns = (args.prompt_column, *columns)
    if any("." in column and column not in dataset.column_names for column in (*columns, *(args.dataset_filter or {}))):
        dataset = dataset.flatten()
    if len(dataset) == 0:
        raise ValueError(f"the data set {args.dataset_name} is empty: set dataset_name to one with prompts")
    for column in columns:
        if column not in dataset.column_names:
            raise ValueError(
                f"the data set {args.dataset_name} has no column {column!r}{nearest(column, dataset.column_names)}; it "
                f"has {', '.join(dataset.column_names)}: rename a column, or set prompt_column or answer_column"
            )
        if None in dataset[column]:
            raise ValueError(
                f"row {list(dataset[column]).index(None)} of {args.dataset_name} has no {column!r}: fill it in, or "
                "drop the row"
            )
    return filter_rows(dataset, args.dataset_filter or {}, str(args.dataset_name))


def is_local(name: str) -> bool:
    """Whether a data set's name is that of a local file, there or not."""
    return Path(name).suffix in LOCAL_FORMATS or Path(name).exists()


def filter_rows(dataset: Dataset, bounds: dict[str, Any], name: str) -> Dataset:
    """
    The rows whose numeric columns are within bounds; a row without a number is not.

    Args:
        dataset (`Dataset`):
            What to choose from.
        bounds (`dict[str, (low, high)]`):
            Column to the least and the greatest value kept; `None` where there is none.
        name (`str`):
            Of the data set, for messages.

    Raises:
        ValueError: for a column that is missing or holds no numbers, bounds that are none, or where no row is left.
    """
    for column, ends in bounds.items():
        if column not in dataset.column_names:
            raise ValueError(
                f"`dataset_filter` reads the column {column!r}, which {name} has not"
                f"{nearest(str(column), dataset.column_names)}; it has {', '.join(dataset.column_names)}"
            )
        if not (isinstance(ends, list | tuple) and len(ends) == 2 and all(_is_number(e) or e is None for e in ends)):
            raise ValueError(
                f"`dataset_filter` has {ends!r} for {column!r}: set the least and the greatest value to keep, as "
                f"{_EXAMPLES['dataset_filter']}"
            )
        values = list(dataset[column])  # read once
        wrong = [value for value in values if not (_is_number(value) or value is None)]
        if wrong:
            raise ValueError(
                f"`dataset_filter` compares the column {column!r} of {name}, which holds {wrong[0]!r}: choose a column "
                "of numbers"
            )
        low = -math.inf if ends[0] is None else ends[0]
        high = math.inf if ends[1] is None else ends[1]
        rows = [row for row, value in enumerate(values) if value is not None and low <= value <= high]
        if not rows:
            there = [value for value in values if value is not None]
            span = f"goes from {min(there)} to {max(there)} there" if there else "holds no number there"
            raise ValueError(
                f"`dataset_filter` keeps no row of {name}: {column!r} {span}, and it keeps {low} to {high}: widen it"
            )
        dataset = dataset.select(rows)
    return dataset


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def load_named(args: DataArguments, load: Callable[[DataArguments], Dataset]) -> Dataset | dict[str, Dataset]:
    """
    Every data set of a recipe, loaded by `load`: the one there is, or all by name.

    Args:
        args (`DataArguments`):
            The recipe's.
        load (`Callable`):
            For example [`load_problems`].
    """
    named = {name: load(own) for name, own in args.named().items()}
    return named if len(named) > 1 else named[BASE_DATA]


def load_problems(args: DataArguments) -> Dataset:
    """
    Problems as a chat with one user message, and their answers.

    Returns:
        `Dataset`: columns `prompt` (list of messages) and `solution` (str).
    """
    if args.answer_column == args.prompt_column:
        raise ValueError(
            f"prompt_column and answer_column are both {args.prompt_column!r}, so the problem would be its own answer: "
            "set answer_column to the column with the right answers"
        )
    dataset = load_rows(args, (args.answer_column,))
    answers = [str(answer) for answer in dataset[args.answer_column]]
    for row, answer in enumerate(answers):
        if not final_answer(answer):
            raise ValueError(f"row {row} of {args.dataset_name} has an empty {args.answer_column!r}: drop the row")

    def as_chat(problem: Any) -> list[dict[str, str]]:
        return [{"role": "user", "content": problem + args.prompt_suffix}] if isinstance(problem, str) else problem

    prompts = [as_chat(problem) for problem in dataset[args.prompt_column]]
    return Dataset.from_dict({"prompt": prompts, "solution": answers})
