"""A user's mistake as one line and exit code 2, from the command line and from recipe scripts."""

import os
import sys
import sysconfig
import traceback
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import Any

from .writing import SaveError


REFUSED = 2  # exit code
OPTION = "--traceback"
_PACKAGE = Path(__file__).resolve().parents[1]
_STANDARD = Path(sysconfig.get_path("stdlib")).resolve()
_INSTALLED = {"site-packages", "dist-packages"}


def error_line(error: BaseException) -> str:
    """Return an error as the one line that a user reads, with path and cause where the system refused a file."""
    text = str(error)
    if isinstance(error, OSError) and error.filename is not None:
        text = f"{error.filename} cannot be read or written: {error.strerror}"
    return f"error: {' '.join(text.split())}"


def run(main: Callable[[list[str]], Any], argv: list[str]) -> int:
    """
    Call `main` with a command line, and print one line on standard error where a check refuses it.

    In a launch of several processes one of them prints the line. Any other error keeps its traceback: an error of the
    user's own code, and one that arises while the model trains.

    Args:
        main (`Callable`):
            The function to call.
        argv (`list[str]`):
            Its command line. `--traceback` is taken out of it, and prints the traceback in place of the line.

    Returns:
        `int`: exit code 0, 2 after a refusal, or 1 where training ended because a file could not be written.
    """
    shows_all = OPTION in argv
    try:
        main([word for word in argv if word != OPTION])
    except SystemExit as error:
        if error.code or not _has_trained(_frames(error)):
            raise
        raise RuntimeError("code of the run called sys.exit() while the model trained") from error
    except (ValueError, ImportError, OSError, SaveError) as error:
        frames = _frames(error)
        has_trained = _has_trained(frames)
        if not isinstance(error, SaveError) and (has_trained or _is_users_own(frames)):
            raise
        if shows_all:
            traceback.print_exception(error)
        elif _is_first_to_report():
            print(error_line(error), file=sys.stderr, flush=True)
        return 1 if has_trained else REFUSED
    return 0


def _frames(error: BaseException) -> list[FrameType]:
    """Return the frames through which an error came to [`run`], from the outermost one on."""
    return [frame for frame, _ in traceback.walk_tb(error.__traceback__)][1:]


def _has_trained(frames: list[FrameType]) -> bool:
    """Return whether an error was raised after transformers began to train."""
    places = [(frame.f_globals.get("__name__", ""), frame.f_code.co_name) for frame in frames]
    return ("transformers.trainer", "train") in places


def _is_users_own(frames: list[FrameType]) -> bool:
    """Return whether an error was raised in the user's own code, or in code that this called from within a package."""
    own = [_is_users(frame) for frame in frames]
    # a script's own frames stand first, above those of the package that it calls
    packages = own.index(False) if False in own else len(own)
    return packages == len(own) or any(own[packages:])


def _is_users(frame: FrameType) -> bool:
    """Return whether a frame is neither of this package, nor of an installed one, nor of the standard library."""
    file = frame.f_globals.get("__file__")
    if not file:  # a frozen module, or a cell of a notebook
        return frame.f_globals.get("__name__", "").partition(".")[0] not in sys.stdlib_module_names
    path = Path(file).resolve()
    return not (_INSTALLED & set(path.parts) or _PACKAGE in path.parents or _STANDARD in path.parents)


def _is_first_to_report() -> bool:
    """Return whether no other process of the launch has reported, as the store that torchrun keeps for all knows."""
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        return True
    from torch.distributed import TCPStore

    try:
        address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        store = TCPStore(address, port, is_master=False, timeout=timedelta(seconds=5))
        return store.add("es_trl/reports", 1) == 1
    except (KeyError, ValueError, RuntimeError):  # a store that cannot be asked: twice is better than never
        return True
