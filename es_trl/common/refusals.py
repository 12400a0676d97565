"""A user's mistake as one line, from the command line and from recipe scripts."""

import traceback
from collections.abc import Callable

from .writing import SaveError


# packages that check what a user has set
CHECKING = ("es_trl", "trl", "transformers", "accelerate", "datasets", "huggingface_hub")


def error_line(error: BaseException) -> str:
    """Return an error as the one line that a user reads, with path and cause where the system refused a file."""
    text = str(error)
    if isinstance(error, OSError) and error.filename is not None:
        text = f"{error.filename} cannot be read or written: {error.strerror}"
    return f"error: {' '.join(text.split())}"


def run(main: Callable[[], None]) -> None:
    """
    Call a script's `main`, and exit with one line and code 1 where a check refuses it or a file cannot be written.

    Any other error keeps its traceback.
    """
    try:
        main()
    except (ValueError, ImportError, OSError, SaveError) as error:
        if not isinstance(error, SaveError) and not _is_refusal(error):
            raise
        raise SystemExit(error_line(error)) from None


def _is_refusal(error: BaseException) -> bool:
    """Whether an error was raised by a check, before transformers began to train."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    places = [(frame.f_globals.get("__name__", ""), frame.f_code.co_name) for frame in frames]
    return ("transformers.trainer", "train") not in places and places[-1][0].split(".")[0] in CHECKING
