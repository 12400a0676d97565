"""Files that a run writes: replaced whole or not at all, and a failure to write is one sentence."""

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from safetensors import SafetensorError


# torch's writer of archives and its check of the folder raise a plain RuntimeError with these words
_TORCH_CANNOT_WRITE = ("PytorchStreamWriter", "inline_container", "Parent directory", "cannot be opened")


class SaveError(RuntimeError):
    """Something of the run could not be written. The message says what, why, and what to do."""


@contextlib.contextmanager
def writing(path: str | Path, what: str, advice: str = "make room or mend the folder") -> Iterator[None]:
    """
    Turn a failure to write into one sentence.

    Args:
        path (`str` or `Path`):
            What is written.
        what (`str`):
            Its name for people, for example `"the history"`.
        advice (`str`):
            What to do, in the imperative.

    Raises:
        SaveError: for an `OSError`, and for what torch and safetensors raise in its place.
    """
    try:
        yield
    except (OSError, SafetensorError, RuntimeError) as error:
        if isinstance(error, SaveError) or not _is_about_files(error):
            raise
        raise SaveError(f"{what} could not be written to {path} ({_cause(error, Path(path))}): {advice}") from error


def _is_about_files(error: Exception) -> bool:
    return not isinstance(error, RuntimeError) or any(words in str(error) for words in _TORCH_CANNOT_WRITE)


def _cause(error: Exception, path: Path) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    folder = next(folder for folder in (path, *path.absolute().parents) if folder.is_dir())
    if shutil.disk_usage(folder).free < 1 << 20:  # torch says only that its writer has failed
        return os.strerror(errno.ENOSPC)
    return " ".join(str(error).split())[:200]


def write_atomically(path: Path, text: str) -> None:
    """Write a file so that a reader, or a run killed in the middle, sees the old content or the new one."""
    with atomic_replacement(path) as file:
        file.write(text.encode())


@contextlib.contextmanager
def atomic_replacement(path: Path) -> Iterator[BinaryIO]:
    """
    A file to write to that takes the place of `path` when all is written.

    Raises:
        SaveError: where it cannot be written.
    """
    temporary = path.with_name(path.name + ".tmp")
    with writing(path, path.name):
        try:
            with open(temporary, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):  # on a full disk every byte counts
                temporary.unlink(missing_ok=True)
            raise
