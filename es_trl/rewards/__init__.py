"""Rewards for recipes. Names load on first use: a worker that judges answers needs neither transformers nor TRL."""

from ..common.lazy import lazy


_MODULES = {"math_reward": "math"}
__all__ = list(_MODULES)

__getattr__, __dir__ = lazy(__name__, _MODULES)
