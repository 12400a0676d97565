"""Rows of a dataset, which is a local file of exactly the given name or a dataset of the Hub."""

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
from datasets import Dataset, Features, ReadInstruction, load_dataset
from transformers.utils import logging

from .exact_json import read_json
from .rows import Rows


logger = logging.get_logger(__name__)

LOCAL_FORMATS = (".json", ".jsonl", ".parquet")


def read_rows(name: str, config: str | None = None, split: str = "train") -> Rows:
    """Return the rows of a local file, or of a dataset of the Hub. `~` in a file's name is the home folder."""
    path = _expand(name)
    if path.suffix in LOCAL_FORMATS:
        rows = _read_file(path, split)
    elif path.exists():
        kind = "folder" if path.is_dir() else f"{path.suffix} file" if path.suffix else "file without an ending"
        advice = f"set dataset_name to a file ending in {', '.join(LOCAL_FORMATS)}"
        raise ValueError(f"the dataset {path} is a {kind}: {advice}")
    else:
        try:
            dataset = load_dataset(name, config, split=split)
        except (ConnectionError, FileNotFoundError) as error:
            fault = f"the dataset {name} is not a local file and cannot be loaded from the Hub ({error})"
            raise ValueError(f"{fault}: set dataset_name to a local file, or check name and connection") from error
        rows = Rows(name, dataset, range(len(dataset)))
    if not rows.numbers and "[" in split:
        raise ValueError(f"`dataset_split` must name rows of {rows.name}, got {split!r}: set it to train")
    if not rows.numbers:
        raise ValueError(f"the dataset {rows.name} is empty: set dataset_name to one with prompts")
    return rows


def is_local(name: str) -> bool:
    """Return whether a dataset's name is that of a local file, which need not exist."""
    return Path(name).suffix in LOCAL_FORMATS or os.path.exists(_expand(name))


def _expand(name: str) -> Path:
    return Path(name if os.path.exists(name) else os.path.expanduser(name))


def _read_file(path: Path, split: str) -> Rows:
    if not path.is_file():
        fault = "is a folder or a device" if path.exists() else "does not exist"
        raise ValueError(f"the dataset {path} {fault}: set dataset_name to a file")
    try:
        if path.stat().st_size == 0:
            raise ValueError(f"the dataset {path} is empty: set dataset_name to a file with prompts")
        source = _read_parquet(path) if path.suffix == ".parquet" else read_json(path)
    except OSError as error:
        fault = error.strerror or error
        raise ValueError(f"the dataset {path} cannot be read ({fault}): set dataset_name to another") from error
    size = len(source) if isinstance(source, Dataset) else len(next(iter(source.values()), []))
    return Rows(str(path), source, part_of(size, split, f"the file {path}"))


def part_of(size: int, split: str, what: str) -> range:
    """Return the rows that a split as `train[:100]` names, of the `size` rows of `what`."""
    try:
        (part,) = ReadInstruction.from_spec(split).to_absolute({"train": size})
    except (ValueError, AssertionError):
        must = f"must be 'train' for {what}, or a part of it as 'train[:100]'"
        raise ValueError(f"`dataset_split` {must}, got {split!r}: set it to train") from None
    return range(*slice(part.from_, part.to).indices(size))


def _read_parquet(path: Path) -> Dataset:
    """Return the table of a file without the columns whose types `datasets` does not know; these are logged."""
    try:
        with path.open("rb") as file:  # a name would be a pattern or a folder of partitions to pyarrow
            table = pa.parquet.ParquetFile(file).read()
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno:
            raise
        fault = " ".join(str(error).split())
        raise ValueError(f"the dataset {path} is not a whole Parquet file ({fault}): write it again") from None
    names = table.column_names
    if len(set(names)) < len(names):
        raise ValueError(f"the dataset {path} has two columns of one name, among {', '.join(names)}: rename one")
    unknown = [field.name for field in table.schema if not _is_known(field)]
    if unknown:
        logger.warning(f"the columns {', '.join(unknown)} of {path} are left out: `datasets` does not know their types")
        table = table.drop_columns(unknown).replace_schema_metadata(None)
    return Dataset(table)


def _is_known(field: pa.Field) -> bool:
    try:
        return Features.from_arrow_schema(pa.schema([field])) is not None
    except (ValueError, NotImplementedError):
        return False
