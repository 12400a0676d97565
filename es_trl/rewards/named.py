"""Reward functions by the names that a recipe gives them."""

import importlib
import importlib.util
import sys
from collections.abc import Callable
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
            if not isinstance(name, str) or name not in NAMED and not all(name.rpartition(":")[::2]):
                raise ValueError(
                    f"`reward` must be {_FORMS}, got {name!r}{nearest(str(name), NAMED)}: set one of these"
                )
        if self.reward is not None and not self.names or len(set(self.names)) < len(self.names):
            raise ValueError(f"`reward` must name each function once, got {self.reward}: list at least one function")

    @property
    def names(self) -> list[str]:
        """The names as a list, empty where the recipe names no reward."""
        return [] if self.reward is None else self.reward if isinstance(self.reward, list) else [self.reward]


def load_reward(name: str) -> Callable[..., list[float]]:
    """
    Return the reward function of a name that [`RewardArguments`] takes.

    Raises:
        ValueError: where the file, the module or the function does not exist. An error of the file's own code is
            raised as it is.
    """
    place, _, function = NAMED.get(name, name).rpartition(":")
    module = _load_file(place) if place.endswith(".py") else _load_module(place)
    found = getattr(module, function, None)
    if not callable(found) or not hasattr(found, "__name__"):
        known = [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
        fault = "is not a function" if found is not None else f"does not exist{nearest(function, known)}"
        raise ValueError(f"`reward` names {function!r} in {place}, which {fault}: name a function of it")
    return found


def _load_module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise  # a module that the named one imports
        raise ValueError(
            f"`reward` names the module {name}, which cannot be found: install it, or set my_file.py:my_reward"
        ) from None


def _load_file(name: str) -> ModuleType:
    """Return the module in a file, whose neighbours it may import; a file is run once."""
    path = Path(name).expanduser().absolute()
    if not path.is_file():
        raise ValueError(
            f"`reward` names the file {path}, which does not exist: give its path from the folder in which you launch"
        )
    key = f"es_trl_reward:{path}"  # no name that an import could take for another module
    if key not in sys.modules:
        spec: Any = importlib.util.spec_from_file_location(key, path)
        module = importlib.util.module_from_spec(spec)
        sys.modules[key] = module  # dataclasses of the file look it up there
        sys.path.append(str(path.parent))
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[key]
            raise
    return sys.modules[key]
