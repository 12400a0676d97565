"""The folder that a run writes into: whether it can, and wherever the run's code goes meanwhile."""

import os
import tempfile

from transformers import TrainingArguments


def enter_run_folder(args: TrainingArguments) -> None:
    """
    Make `output_dir` absolute, and raise unless files can be written there.

    A reward function or a tool may change the working directory, and what is saved later would go elsewhere.

    Args:
        args (`TrainingArguments`):
            The trainer's; its `output_dir` is changed in place.

    Raises:
        ValueError: with the path and the cause.
    """
    folder = os.path.abspath(args.output_dir)
    try:
        os.makedirs(folder, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"\0")
    except OSError as error:
        raise ValueError(
            f"`output_dir` must be a folder that can be written to, got {args.output_dir!r} ({error.strerror}): set "
            "another one, or make it writable"
        ) from error
    args.output_dir = folder
