"""Rewards for recipes. Names load on first use: a worker that judges answers needs neither transformers nor TRL."""

import importlib
from typing import Any


_MODULES = {"SoftOverlongPunishment": "overlong", "math_reward": "math"}
__all__ = list(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_MODULES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULES])
