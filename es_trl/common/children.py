"""Python processes that this one starts: what they import, and that they end with it."""

import ctypes
import os
import signal
import sys


_FOLDER = os.getcwd()  # the base of relative import paths, kept because a script may change its folder later


def python_command(code: str) -> list[str]:
    """Return the command of a Python process that runs `code` with the import path of this process."""
    path = [entry or _FOLDER for entry in map(str, sys.path)]
    return [sys.executable, "-c", f"import sys; sys.path[:] = {ascii(path)}; {code}"]


def end_with(parent: int) -> None:
    """Let Linux kill this process when the thread that started it ends; `parent` is the process of that thread."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:  # the parent has ended already
        os._exit(1)
