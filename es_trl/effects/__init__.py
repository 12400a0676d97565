"""Actuators that act on tensors: on what is trained on, on single tokens, or by a bonus of their own.

Those of `actuators.py` set an attribute that TRL's loss reads. One of these is an actuator, too, and is asked besides
for the advantages or the bonus of each micro-batch. A new one is a file here, a row in `blocks.py` and a test.
"""

from .base import Effect, MicroBatch, Scores
from .clamped_bonus import ClampedBonusActuator
from .covariance import ClipCovActuator, KLCovActuator
from .difficulty_bonus import DifficultyBonusActuator
from .sample_filter import SampleFilterActuator
from .sample_weight import SampleWeightActuator


__all__ = [
    "ClampedBonusActuator",
    "ClipCovActuator",
    "DifficultyBonusActuator",
    "Effect",
    "KLCovActuator",
    "MicroBatch",
    "SampleFilterActuator",
    "SampleWeightActuator",
    "Scores",
]
