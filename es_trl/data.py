"""Prompts from a Hub data set or a local file, with the columns that a recipe asks for."""

from dataclasses import dataclass, field
from pathlib import Path

from datasets import Dataset, IterableDataset, load_dataset
from datasets.exceptions import DatasetGenerationError

from .config import nearest


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
    The rows of a data set, with a column `prompt` and the given ones.

    Args:
        args (`DataArguments`):
            Which data set.
        columns (`tuple[str, ...]`):
            Columns that the recipe reads beside `prompt_column`, which is renamed to `prompt`.

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
                f"columns, in {LOCAL_FORMATS[path.suffix]} format"
            ) from error
    elif path.exists():
        raise ValueError(
            f"the data set {path} is a {'folder' if path.is_dir() else f'{path.suffix} file'}: set dataset_name to a "
            f"file ending in {', '.join(LOCAL_FORMATS)}"
        )
    else:
        dataset = load_dataset(args.dataset_name, args.dataset_config, split=args.dataset_split)
    columns = (args.prompt_column, *columns)
    if any("." in column and column not in dataset.column_names for column in columns):
        dataset = dataset.flatten()
    if len(dataset) == 0:
        raise ValueError(f"the data set {args.dataset_name} is empty: set dataset_name to one with prompts")
    for column in columns:
        if column not in dataset.column_names:
            raise ValueError(
                f"the data set {args.dataset_name} has no column {column!r}{nearest(column, dataset.column_names)}; it "
                f"has {', '.join(dataset.column_names)}: set prompt_column or answer_column"
            )
        if None in dataset[column]:
            raise ValueError(
                f"row {list(dataset[column]).index(None)} of {args.dataset_name} has no {column!r}: fill it in, or "
                "drop the row"
            )
    if args.prompt_column == "prompt":
        return dataset
    if "prompt" in dataset.column_names:
        dataset = dataset.remove_columns("prompt")
    return dataset.rename_column(args.prompt_column, "prompt")


def load_problems(args: DataArguments) -> Dataset:
    """
    Problems as a chat with one user message, and their answers.

    Returns:
        `Dataset`: columns `prompt` (list of messages) and `solution` (str).
    """
    dataset = load_rows(args, (args.answer_column,))

    def as_chat(row: dict) -> dict:
        problem = row["prompt"]
        if isinstance(problem, str):
            problem = [{"role": "user", "content": problem + args.prompt_suffix}]
        return {"prompt": problem, "solution": str(row[args.answer_column])}

    return dataset.map(as_chat, remove_columns=[c for c in dataset.column_names if c not in ("prompt", "solution")])


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
