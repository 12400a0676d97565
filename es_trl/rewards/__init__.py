"""Rewards for recipes."""

from .math import math_reward
from .overlong import SoftOverlongPunishment


__all__ = ["SoftOverlongPunishment", "math_reward"]
