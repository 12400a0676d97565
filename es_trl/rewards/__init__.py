"""Rewards for recipes."""

from .math import math_reward


__all__ = ["math_reward"]
