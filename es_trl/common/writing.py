"""Writes that replace a whole file or leave it as it was, and a one-sentence error if a write fails."""

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from safetensors import SafetensorError


# torch raises a plain RuntimeError with one of these words where it cannot write an archive
_TORCH_CANNOT_WRITE = ("PytorchStreamWriter", "inline_container", "Parent directory", "cannot be opened")


class SaveError(RuntimeError):
    """The error for a file of the run that could not be written: its message names file, cause and remedy."""


@contextlib.contextmanager
def writing(path: str | Path, what: str, advice: str = "make room or mend the folder") -> Iterator[None]:
    """
    Raise a `SaveError` if a write in the block fails.

    Args:
        path (`str` or `Path`):
            The file or folder that the block writes.
        what (`str`):
            What is written, the subject of the message, for example "the history".
        advice (`str`, *optional*, defaults to `"make room or mend the folder"`):
            What the user should do.

    Raises:
        SaveError: for an `OSError`, and for the errors that torch and safetensors raise in its place.
    """
    try:
        yield
    except (OSError, SafetensorError, RuntimeError) as error:
        is_other = isinstance(error, RuntimeError) and not any(words in str(error) for words in _TORCH_CANNOT_WRITE)
        if isinstance(error, SaveError) or is_other:
            raise
        raise SaveError(f"{what} could not be written to {path} ({_cause(error, Path(path))}): {advice}") from error


def _cause(error: Exception, path: Path) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    folder = next(folder for folder in (path, *path.absolute().parents) if folder.is_dir())
    if shutil.disk_usage(folder).free < 1 << 20:  # torch does not name a full disk as the cause
        return os.strerror(errno.ENOSPC)
    return " ".join(str(error).split())[:200]


def write_atomically(path: Path, text: str) -> None:
    """Replace the content of a file, so that a reader finds the whole old or the whole new text, even after a kill."""
    with atomic_replacement(path) as file:
        file.write(text.encode())


def append(path: Path, data: bytes) -> None:
    """Append to a file, and return once all of it is on the disk; raise an `OSError` if a write fails."""
    with open(path, "ab", buffering=0) as file:
        rest = memoryview(data)
        while rest:  # the system may write less than it was given, where the disk is full for example
            rest = rest[file.write(rest) :]
        os.fsync(file.fileno())


@contextlib.contextmanager
def atomic_replacement(path: Path) -> Iterator[BinaryIO]:
    """Yield a file that replaces `path` once it is completely written; raise a `SaveError` if a write fails."""
    with writing(path, path.name), replacement(path) as file:
        yield file


@contextlib.contextmanager
def replacement(path: Path) -> Iterator[BinaryIO]:
    """Yield a file that replaces `path` once it is completely written; raise an `OSError` if a write fails."""
    temporary = path.with_name(path.name + ".tmp")
    try:
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):  # an unfinished file must not fill the disk further
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno is not None:  # it names the temporary file
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
