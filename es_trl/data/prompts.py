"""The datasets of a recipe as a trainer takes them: prompts, with answers or the columns that a reward reads."""

from collections.abc import Callable
from typing import Any

from datasets import Dataset

from ..curriculum.stages import BASE_DATA
from ..rewards.golds import check_golds
from .answer_column import read_answers
from .arguments import DataArguments
from .prompt_column import read_prompts
from .prompt_template import template_columns
from .reading import read_rows
from .row_filter import filter_rows
from .rows import CANNOT_HOLD, Rows


def open_rows(args: DataArguments) -> Rows:
    """Return the rows of a dataset that its filter keeps, with all columns as the file has them."""
    if args.dataset_name is None:
        raise ValueError("`dataset_name` must be set: name a dataset of the Hub, or a .json, .jsonl or .parquet file")
    return filter_rows(read_rows(args.dataset_name, args.dataset_config, args.dataset_split), args.dataset_filter or {})


def load_rows(args: DataArguments, columns: tuple[str, ...] = (), rows: Rows | None = None) -> Dataset:
    """
    Return the rows of a dataset for a reward of one's own: the column `prompt`, and all others under their own names.

    Every row must have a prompt and all of `columns`. There `a.b` names a nested column, which the result has under
    that name. A JSON column that Arrow cannot hold is left out. `rows` are those of [`open_rows`], if they are read.
    """
    rows = open_rows(args) if rows is None else rows
    prompts = read_prompts(rows, args)
    for column in columns:
        rows.filled(column)
    own = () if args.prompt_template is not None else (args.prompt_column,)
    dataset = rows.to_dataset((*own, *columns))
    others = [name for name in dataset.column_names if name != "prompt"]
    if not others:  # a dataset without columns has no rows
        return Dataset.from_dict({"prompt": prompts})
    return dataset.select_columns(others).add_column("prompt", prompts).select_columns(["prompt", *others])


def load_named(args: DataArguments, load: Callable[[DataArguments], Dataset]) -> Dataset | dict[str, Dataset]:
    """Return the dataset of a recipe, or several by name, each loaded by `load`, for example [`load_problems`]."""
    named = {name: load(own) for name, own in args.named().items()}
    return named if len(named) > 1 else named[BASE_DATA]


def load_problems(args: DataArguments, rows: Rows | None = None) -> Dataset:
    """
    Return mathematical problems and their answers, as [`problems_of`], each of which the math reward can judge.

    `rows` are those of [`open_rows`], if they are read.
    """
    rows = open_rows(args) if rows is None else rows
    problems = problems_of(rows, args)
    check_golds(problems["solution"][:], lambda place: f"row {rows.numbers[place]} of {rows.name}")
    return problems


def problems_of(rows: Rows, args: DataArguments) -> Dataset:
    """Return columns `prompt` and `solution`, text, or a list of texts in every row where some row has alternatives."""
    if args.answer_column == args.prompt_column and args.prompt_template is None:
        raise ValueError(
            f"`prompt_column` and `answer_column` are both {args.prompt_column!r}: set another answer_column"
        )
    if args.prompt_template is not None and args.answer_column in template_columns(args.prompt_template, rows):
        raise ValueError(
            f"`prompt_template` names {args.answer_column!r}, which is `answer_column`, so prompts would hold the "
            f"right answers: remove it, or write {{{{{args.answer_column}}}}} for the text itself"
        )
    prompts, answers = read_prompts(rows, args), read_answers(rows, args.answer_column)
    return _as_dataset(rows, args, {"prompt": prompts, "solution": answers})


def prompts_of(rows: Rows, args: DataArguments) -> Dataset:
    """Return the column `prompt` of [`problems_of`] alone, from rows that were read."""
    return _as_dataset(rows, args, {"prompt": read_prompts(rows, args)})


def _as_dataset(rows: Rows, args: DataArguments, columns: dict[str, list[Any]]) -> Dataset:
    try:
        return Dataset.from_dict(columns)
    except CANNOT_HOLD as error:
        has = f"has messages whose fields are of other types than in other messages ({' '.join(str(error).split())})"
        raise ValueError(f"the column {args.prompt_column!r} of {rows.name} {has}: give them the same types") from None
