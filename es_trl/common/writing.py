"""Files that are replaced whole or not at all; a failure to write one is one sentence."""

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from safetensors import SafetensorError


# words of the plain RuntimeError that torch raises where it cannot write an archive
_TORCH_CANNOT_WRITE = ("PytorchStreamWriter", "inline_container", "Parent directory", "cannot be opened")


class SaveError(RuntimeError):
    """A file of the run could not be written. The message says which, why, and what to do."""


@contextlib.contextmanager
def writing(path: str | Path, what: str, advice: str = "make room or mend the folder") -> Iterator[None]:
    """Raise a `SaveError` about `what` for an `OSError`, and for what torch and safetensors raise in its place."""
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
    if shutil.disk_usage(folder).free < 1 << 20:  # torch does not name the cause
        return os.strerror(errno.ENOSPC)
    return " ".join(str(error).split())[:200]


def write_atomically(path: Path, text: str) -> None:
    """Replace the content of a file, so that a reader sees the old or the new one also after a kill."""
    with atomic_replacement(path) as file:
        file.write(text.encode())


@contextlib.contextmanager
def atomic_replacement(path: Path) -> Iterator[BinaryIO]:
    """Yield a file that takes the place of `path` once all of it is written; raise a `SaveError` where it is not."""
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
