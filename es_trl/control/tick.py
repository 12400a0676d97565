"""The decision of the control loop."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Tick:
    """
    The decision of the loop at one rollout, or at one of its updates.

    Args:
        stage (`str`, *optional*):
            Phase of the schedule, `"stable"` or `"anneal"`; `None` without a schedule.
        target (`float`, *optional*):
            Target in nats; `None` without a schedule.
        entropy (`float`, *optional*):
            Measured entropy of the rollout or of the update in nats; `None` if nothing was measured.
        error (`float`, *optional*):
            Target minus entropy in nats; `None` if one of them is `None`.
        control (`float`):
            Control in the unit of the actuator that acts.
        settings (`dict[str, float]`):
            Settings of all actuators, by name.
        saturated (`bool`):
            Whether the control is at a bound.
        actuator (`str`):
            Class name of the actuator that acts.
        estimate (`dict[str, float]`, *optional*):
            Numbers that the run has shown of the actuator's effect; `None` for a controller without a target.
        events (`list[dict[str, str]]`):
            Events of this rollout, each with `kind` and `message`. A hand-over takes effect at the next rollout.
    """

    stage: str | None
    target: float | None
    entropy: float | None
    error: float | None
    control: float
    settings: dict[str, float]
    saturated: bool
    actuator: str
    estimate: dict[str, float] | None
    events: list[dict[str, str]]
