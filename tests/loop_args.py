"""A configuration for control loops in tests, and a loop begun under it."""

from dataclasses import dataclass

from es_trl.control.base import ActuatorArgs
from es_trl.control.loop import EntropyLoop


@dataclass
class Args(ActuatorArgs):
    """The fields of a configuration that actuators read, in a geometry where the clip acts."""

    epsilon_high: float | None = 0.28
    steps_per_generation: int = 8


def begun(schedule, controller, actuator):
    loop = EntropyLoop(schedule, controller, actuator)
    loop.begin(Args())
    return loop
