"""Prompts from a Hub data set or a local file, with the columns that a recipe asks for."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from typing import Any

import pyarrow as pa
import yaml
from datasets import Dataset

from ..common.nearest import nearest
from ..curriculum.stages import BASE_DATA
from ..rewards.math import check_golds
from .answer_column import read_answers
from .prompt_column import PROMPT_FORMATS, read_prompts
from .reading import read_rows
from .row_filter import EXAMPLE, filter_rows
from .rows import Rows


_EXAMPLES = {
    "dataset_filter": EXAMPLE,
    "datasets": "{hard: {dataset_name: hard.jsonl, dataset_filter: {level: [4, 5]}}}",
}


@dataclass
class DataArguments:
    """
    Where the prompts come from.

    Parameters:
        dataset_name (`str`, *optional*):
            Data set on the Hub, or a local `.json`, `.jsonl` or `.parquet` file of exactly this name.
        dataset_config (`str`, *optional*):
            Configuration of a Hub data set.
        dataset_split (`str`):
            Split of a Hub data set; a local file has the split `train`.
        prompt_column (`str`):
            Column with the problem: text, or a list of chat messages of which the last is the user's; `a.b` names the
            field `b` of a nested column `a`, here and below.
        answer_column (`str`):
            Column with the right answer: text, a number, or a list of these that are equally right.
        prompt_suffix (`str`):
            Instruction put after the text of a problem, in a chat after that of its last message.
        prompt_format (`str`):
            `chat` makes a text the one message of a chat; `text` leaves it, for base models without a chat template.
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
    prompt_format: str = field(
        default="chat", metadata={"help": "chat, or text for a base model without a chat template."}
    )
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
                value = None if value == "none" else _read_yaml(name, value)
                setattr(self, name, value)
            if value is not None and not isinstance(value, dict):
                raise ValueError(f"`{name}` must be a mapping, got {value!r}: set for example {_EXAMPLES[name]}")
        if isinstance(self.dataset_name, os.PathLike):
            self.dataset_name = os.fspath(self.dataset_name)
        for name in ("prompt_column", "answer_column", "prompt_suffix", "dataset_split", "dataset_name"):
            value = getattr(self, name)
            if not isinstance(value, str) and (value is not None or name != "dataset_name"):
                raise ValueError(f"`{name}` must be text, got {value!r}: put it in quotes")
        if self.prompt_format not in PROMPT_FORMATS:
            raise ValueError(
                f"`prompt_format` must be {' or '.join(PROMPT_FORMATS)}, got {self.prompt_format!r}: set text for a "
                "base model without a chat template, chat for others"
            )

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


def _read_yaml(name: str, text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(
            f"`{name}` must be a mapping, got {text!r}, which is not valid YAML ({' '.join(str(error).split())}): set "
            f"for example {_EXAMPLES[name]}"
        ) from None


def open_rows(args: DataArguments) -> Rows:
    """
    The rows of a data set that its filter keeps, with all columns as the file has them.

    Raises:
        ValueError: where no data set is named, as [`~read_rows.read_rows`] and as [`~row_filter.filter_rows`].
    """
    if args.dataset_name is None:
        raise ValueError(
            "no data set is named: set dataset_name to one of the Hub or to a local .jsonl or .parquet file"
        )
    return filter_rows(read_rows(args.dataset_name, args.dataset_config, args.dataset_split), args.dataset_filter or {})


def load_rows(args: DataArguments, columns: tuple[str, ...] = ()) -> Dataset:
    """
    The rows of a data set for a reward of one's own: the prompt, and all columns that the reward may read.

    Args:
        args (`DataArguments`):
            Which data set.
        columns (`tuple[str, ...]`):
            Columns that every row must have beside `prompt_column`.

    Returns:
        `Dataset`: column `prompt`, as `prompt_format` says and with the suffix; then the data set's other columns by
        their own names, and `a.b` for what is asked for by that name. A JSON column that Arrow cannot hold, and that is
        not asked for, is left out.

    Raises:
        ValueError: as [`open_rows`], for a row without a prompt, and for a column that is missing or has a gap.
    """
    rows = open_rows(args)
    prompts = read_prompts(rows, args.prompt_column, args.prompt_suffix, args.prompt_format)
    for column in columns:
        rows.filled(column)
    dataset = rows.to_dataset((args.prompt_column, *columns))
    others = [name for name in dataset.column_names if name != "prompt"]
    return dataset.select_columns(others).add_column("prompt", prompts).select_columns(["prompt", *others])


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
    Mathematical problems and their answers, each of which the math reward can judge.

    Returns:
        `Dataset`: as [`problems_of`].

    Raises:
        ValueError: as [`open_rows`], [`problems_of`] and [`~rewards.math.check_golds`].
    """
    rows = open_rows(args)
    problems = problems_of(rows, args)
    check_golds(problems["solution"][:], lambda place: f"row {rows.numbers[place]} of {rows.name}")
    return problems


def problems_of(rows: Rows, args: DataArguments) -> Dataset:
    """
    Problems and their answers from rows that were read.

    Returns:
        `Dataset`: columns `prompt`, a list of messages or text as `prompt_format` says, and `solution`, text. Where
        some row has alternatives, `solution` is a list of texts in every row.

    Raises:
        ValueError: for a missing column, a row without a prompt or an answer, and where one column is to be both.
    """
    if args.answer_column == args.prompt_column:
        raise ValueError(
            f"prompt_column and answer_column are both {args.prompt_column!r}, so the problem would be its own answer: "
            "set answer_column to the column with the right answers"
        )
    prompts = read_prompts(rows, args.prompt_column, args.prompt_suffix, args.prompt_format)
    answers = read_answers(rows, args.answer_column)
    return _as_dataset(rows, args.prompt_column, prompt=prompts, solution=answers)


def prompts_of(rows: Rows, args: DataArguments) -> Dataset:
    """
    Prompts alone, from rows that were read.

    Returns:
        `Dataset`: column `prompt`, a list of messages or text as `prompt_format` says.

    Raises:
        ValueError: for a missing column, or a row without a prompt.
    """
    prompts = read_prompts(rows, args.prompt_column, args.prompt_suffix, args.prompt_format)
    return _as_dataset(rows, args.prompt_column, prompt=prompts)


def _as_dataset(rows: Rows, prompt_column: str, **columns: list[Any]) -> Dataset:
    try:
        return Dataset.from_dict(columns)
    except (pa.ArrowException, OverflowError, UnicodeEncodeError) as error:
        raise ValueError(
            f"the column {prompt_column!r} of {rows.name} has messages whose fields are of other types than in other "
            f"messages ({' '.join(str(error).split())}): give the fields of all messages the same types"
        ) from None
