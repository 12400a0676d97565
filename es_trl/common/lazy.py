"""Names of a package that load on first use."""

import importlib
import sys
from collections.abc import Callable
from typing import Any


def lazy(package: str, modules: dict[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return the `__getattr__` and the `__dir__` of a package, given the module that defines each of its names."""

    def load(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f".{modules[name]}", package), name)

    def names() -> list[str]:
        return sorted([*vars(sys.modules[package]), *modules])

    return load, names
