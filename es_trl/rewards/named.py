"""Reward functions by the names that a recipe gives them."""

import contextlib
import importlib
import importlib.util
import os
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from ..common.nearest import nearest


NAMED = {"math": "es_trl.rewards:math_reward", "countdown": "es_trl.lab:countdown_reward"}
_FORMS = f"{', '.join(NAMED)}, my_file.py:my_reward or my_package.module:my_reward"


@dataclass
class RewardArguments:
    """
    The key of a recipe that names its reward functions.

    Args:
        reward (`str` or `list[str]`, *optional*):
            `math`, `countdown`, or a function of your own as `my_file.py:my_reward` or `my_package.module:my_reward`.
            A file is found from the folder in which you launch. A list names several functions, whose rewards are
            added with the weights of TRL's `reward_weights`.

    Raises:
        ValueError: for a name of another form, or a list that is empty or names a function twice.
    """

    reward: list[str] | str | None = field(default=None, metadata={"help": f"Reward functions: {_FORMS}, or a list."})

    def __post_init__(self) -> None:
        for name in self.names:
            if not isinstance(name, str) or name not in NAMED and not _is_place(name):
                raise ValueError(
                    f"`reward` must be {_FORMS}, got {name!r}{nearest(str(name), NAMED)}: set one of these"
                )
        if self.reward is not None and not self.names or len(set(self.names)) < len(self.names):
            raise ValueError(f"`reward` must name each function once, got {self.reward}: list at least one function")

    @property
    def names(self) -> list[str]:
        """The names as a list, empty where the recipe names no reward."""
        return [] if self.reward is None else self.reward if isinstance(self.reward, list) else [self.reward]


def _is_place(name: str) -> bool:
    """Return whether a name has the form file.py:function or package.module:function."""
    place, _, function = name.rpartition(":")
    return function.isidentifier() and (place.endswith(".py") or all(map(str.isidentifier, place.split("."))))


class RewardImportError(RuntimeError):
    """An error of the user's own code while a reward's file or module was imported; its cause is that error."""


def load_reward(name: str) -> Callable[..., list[float]]:
    """
    Return the reward function of a name that [`RewardArguments`] takes.

    Raises:
        ValueError: if the file, the module or the function does not exist.
        RewardImportError: if the code of the file or the module raises an error, or ends the program.
    """
    place, _, function = NAMED.get(name, name).rpartition(":")
    module = _load_file(place) if place.endswith(".py") else _load_module(place)
    found = getattr(module, function, None)
    if not callable(found) or isinstance(found, type) or not hasattr(found, "__name__"):
        known = [each for each in dir(module) if not each.startswith("_") and callable(getattr(module, each))]
        fault = "does not exist" if found is None else "is a class" if isinstance(found, type) else "is not a function"
        near = nearest(function, known) if found is None else ""
        file = getattr(module, "__file__", None) or place
        raise ValueError(f"`reward` names {function!r} in {file}, which {fault}{near}: name a function (def) of it")
    return found


@contextlib.contextmanager
def _importing(place: str) -> Iterator[None]:
    """Mark an error of the user's own code as such."""
    try:
        yield
    except (Exception, SystemExit) as error:
        ended = "ended the program" if isinstance(error, SystemExit) else "raised an error"
        raise RewardImportError(f"the code of {place}, which `reward` names, {ended} while it was imported") from error


def _load_module(name: str) -> ModuleType:
    with _importing(name):
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{name}.".startswith(f"{error.name}."):
                raise  # a module that the named one imports
    advice = "install it, or set my_file.py:my_reward"
    raise ValueError(f"`reward` names the module {name}, which cannot be found: {advice}")


def _load_file(name: str) -> ModuleType:
    """Return the module in a file, whose neighbours it may import; a file is run once."""
    path = Path(os.path.expanduser(name)).absolute()
    if not path.is_file():
        fault = "is a folder" if path.is_dir() else "does not exist"
        advice = "give its path from the folder in which you launch"
        raise ValueError(f"`reward` names the file {path}, which {fault}: {advice}")
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    key = _module_name(path)
    if key not in sys.modules:
        spec: Any = importlib.util.spec_from_file_location(key, path)
        module = importlib.util.module_from_spec(spec)
        sys.modules[key] = module  # dataclasses and pickle look it up there
        try:
            with _importing(str(path)):
                spec.loader.exec_module(module)
        except RewardImportError:
            del sys.modules[key]
            raise
    return sys.modules[key]


def _module_name(path: Path) -> str:
    """Return the name by which processes can import a file, or one of its own if another module has that name."""
    with contextlib.suppress(ImportError, ValueError):  # a module without a spec, as `__main__`
        spec = importlib.util.find_spec(path.stem) if path.stem.isidentifier() else None
        if spec is not None and spec.origin is not None and Path(spec.origin).absolute() == path:
            return path.stem
    return "es_trl_reward_" + re.sub(r"\W", "_", str(path))
