"""Prompts from a Hub data set or a local file, with the columns that a recipe asks for."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from datasets import Dataset, IterableDataset, load_dataset
from datasets.exceptions import DatasetGenerationError

from .config import nearest
from .rewards.math import final_answer


LOCAL_FORMATS = {".json": "json", ".jsonl": "json", ".parquet": "parquet"}


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
    """

    dataset_name: str | None = field(default=None, metadata={"help": "Hub data set, or a local JSON(L)/Parquet file."})
    dataset_config: str | None = field(default=None, metadata={"help": "Configuration of a Hub data set."})
    dataset_split: str = field(default="train", metadata={"help": "Split; a local file has the split 'train'."})
    prompt_column: str = field(default="prompt", metadata={"help": "Column with the problem."})
    answer_column: str = field(default="solution", metadata={"help": "Column with the right answer."})
    prompt_suffix: str = field(default="", metadata={"help": "Instruction put after the text of a problem."})


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
    if any("." in column and column not in dataset.column_names for column in columns):
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
    return dataset


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


def check_dataset(dataset: Dataset | IterableDataset | None, prompts_per_rollout: int) -> None:
    """
    Refuse training data that cannot fill one rollout.

    Raises:
        ValueError: where it has no `prompt` column or fewer rows than a rollout has prompts.
    """
    if not isinstance(dataset, Dataset):
        return  # TRL checks streams and environments itself
    if len(dataset) == 0:
        raise ValueError("train_dataset is empty: give it at least as many prompts as a rollout has")
    if "prompt" not in dataset.column_names:
        raise ValueError(
            f"train_dataset has no column 'prompt'{nearest('prompt', dataset.column_names)}; it has "
            f"{', '.join(dataset.column_names)}: rename the column with the prompts"
        )
    if len(dataset) < prompts_per_rollout:
        raise ValueError(
            f"train_dataset has {len(dataset)} prompts and one rollout takes {prompts_per_rollout}, so not one could "
            "be filled: set steps_per_generation lower, num_generations higher, or add prompts"
        )
