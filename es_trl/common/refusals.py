"""A user's mistake as one line: of the command line and of recipe scripts."""

import traceback
from collections.abc import Callable

from .writing import SaveError


# the packages that look at what a user has set, and say what is wrong with it
CHECKING = ("es_trl", "trl", "transformers", "accelerate", "datasets", "huggingface_hub")


def error_line(error: BaseException) -> str:
    """What a user reads of an error: one line, with the path and the cause where the system refused a file."""
    text = str(error)
    if isinstance(error, OSError) and error.filename is not None:
        text = f"{error.filename} cannot be read or written: {error.strerror}"
    return f"error: {' '.join(text.split())}"


def run(main: Callable[[], None]) -> None:
    """
    Call a script's `main`, and end with one line where it is refused, or where a file cannot be written.

    An error of the training itself, of the script's own code or of a library below keeps its traceback.

    Args:
        main (`Callable`):
            Reads the recipe, loads the data and trains.

    Raises:
        SystemExit: with the line, and so exit code 1.
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
