"""`ESGRPOConfig`: TRL's configuration, and the blocks that name schedule, controller, actuator and stages."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import torch
from trl import GRPOConfig

from ..control.base import Actuator, Controller
from ..control.schedules import Schedule
from ..curriculum.stages import Stage, check_cache
from .collectives import leave_out_compiled_collective
from .field_checks import check_fields
from .methods import METHODS
from .parser import as_block, build_part, build_stages, read_block
from .presets import apply_method
from .registry import BLOCKS, PARTS
from .sizes import check_counts, check_groups


# A schedule alone is held without gains, by what acts in every geometry and with every loss.
DEFAULT_KINDS = {"entropy_controller": "self_tuned_pid", "entropy_actuator": "entropy_bonus"}


def _field(text: str, default: Any = None) -> Any:
    return field(default=default, metadata={"help": text})


def _block(part: str, block: str) -> Any:
    return _field(f"{part}: a mapping with `kind` ({', '.join(PARTS[block])}) and its arguments.")


@dataclass
class ESGRPOConfig(GRPOConfig):
    """
    Configuration of [`ESGRPOTrainer`]: [`~trl.GRPOConfig`], the blocks of the control loop, and the curriculum.

    A block is a mapping with a `kind` and the arguments of the class that the kind names, as documented there; a kind
    alone, which stands for its defaults; or the object itself. With only `entropy_schedule` the controller is
    `self_tuned_pid` and the actuator `entropy_bonus`; the paper's own method is `sign_step` on `clip_high`. With no
    block the trainer is `GRPOTrainer`. Afterwards the fields hold the objects.

    Parameters:
        method (`str`, *optional*):
            A published method by name (`methods.py`, `docs/methods.md`): its schedule, controller and actuator, and
            what it sets of TRL's fields, each where it is not named here. What is named is kept, also where it is TRL's
            default or `None`; another kind of controller or actuator than the method's is refused.
        entropy_schedule (`dict`, `str` or `Schedule`, *optional*):
            Target entropy over the run: kind `constant`, `linear`, `cosine`, `stable_anneal` or `piecewise`
            (`control/shapes.py`), or a function of progress. For example
            `{kind: stable_anneal, target: 0.4, end: 0.05, ratio: 0.1}` or `StableAnnealSchedule(0.4, 0.05)`.
        entropy_controller (`dict`, `str` or `Controller`, *optional*):
            Turns the error into a control: kind `self_tuned_pid`, `pid`, `sign_step` (Algorithm 1), `dead_band`,
            `band_sign`, `hold` or `follow` (`control/`). Each trainer gets a copy of an object.
        entropy_actuator (`dict`, `str`, `Actuator` or a list of these, *optional*):
            Turns the control into settings of the trainer: kind `clip_high`, `clip`, `entropy_bonus`, `kl_coef`,
            `difficulty_bonus`, `clamped_bonus`, `sample_filter`, `sample_weight`, `clip_cov`, `kl_cov` or
            `adaptive_target` (`actuators/`). In a list the next one takes over where one cannot move entropy
            (`control/handover.py`). The default bounds of `entropy_bonus`, -0.02 and 0.02, fit models of billions of
            parameters; small models need more (the Countdown lab: -1 and 1).
        curriculum (`list`, *optional*):
            Stages in their order: [`Stage`] objects, or mappings of its arguments (`curriculum/stages.py`). For example
            `[{start: onset, data: hard, num_generations: 32, max_completion_length: 16384}]`.
        dynamic_sampling_tries (`int`):
            Generations beside a rollout's own in which prompts are replaced whose completions all got the same reward
            (`curriculum/dynamic_sampling.py`), from 0 (off). DAPO's code has 10.
        overlong_cache (`int`):
            Tokens before the longest completion over which the soft overlong punishment grows to -1, from 0 (off). It
            is one more reward function, of weight 1 unless a weight more than functions is given.
        resume_with_changes (`bool`):
            Whether a resume goes on where the target of the next rollout would jump, because the schedule or the length
            of the run differs from the checkpoint's. Other changes are listed, and always allowed.

    Raises:
        ValueError: for a block that names an unknown kind or argument, or a value out of its range.
    """

    method: str | None = _field(f"A published method: {', '.join(METHODS)}.")
    entropy_schedule: dict[str, Any] | str | Schedule | Callable[[float], float] | None = _block(
        "Target entropy", "entropy_schedule"
    )
    entropy_controller: dict[str, Any] | str | Controller | None = _block("Controller", "entropy_controller")
    entropy_actuator: dict[str, Any] | str | list[Any] | Actuator | None = _block("Actuator", "entropy_actuator")
    curriculum: list[Any] | str | None = _field("Stages: a list of mappings with `start` and what changes there.")
    dynamic_sampling_tries: int = _field("Most generations of fresh prompts for those whose rewards are equal.", 0)
    overlong_cache: int = _field("Tokens before the longest completion over which a punishment grows.", 0)
    resume_with_changes: bool = _field("Whether a resume goes on where the target of the next rollout jumps.", False)

    def __new__(cls, *args: Any, **kwargs: Any) -> "ESGRPOConfig":
        # what is named is kept under a method, also where it equals the default; copies and pickles bring their own
        config = super().__new__(cls)
        names = [each.name for each in fields(cls) if each.init]
        config._named = frozenset(names[: len(args)]) | kwargs.keys()
        return config

    def is_left_to_method(self, name: str) -> bool:
        """Return whether the user has left a field to the method."""
        return name not in self._named and getattr(self, name) == ESGRPOConfig.__dataclass_fields__[name].default

    @property
    def names_all(self) -> bool:
        """Whether every field was named, as by a parser that does not know which ones the user gave."""
        return self._named.issuperset(each.name for each in fields(self) if each.init)

    def __post_init__(self) -> None:
        for each in fields(self):  # NumPy's numbers become Python's, which JSON has
            if isinstance(value := getattr(self, each.name), np.generic):
                setattr(self, each.name, value.item())
        for name in ("method", *BLOCKS, "curriculum"):
            setattr(self, name, read_block(name, getattr(self, name)))
        check_counts(self)
        apply_method(self)
        check_fields(self)
        self._build_blocks()  # refuses a bad block here, long before a model loads
        check_cache(self.overlong_cache, self.max_completion_length, "overlong_cache")
        leave_out_compiled_collective()  # the processes are set up in the next lines
        both_sizes = None not in (self.generation_batch_size, self.steps_per_generation)
        try:
            super().__post_init__()
        except ValueError:
            if getattr(self, "distributed_state", None) is not None:  # else it is not the sizes that were refused
                check_groups(self, both_sizes)  # says what to set, where TRL says what is wrong
            raise

    def _build_blocks(self) -> None:
        """Put the objects that the blocks describe into their fields."""
        self.curriculum = build_stages(self.curriculum) if self.curriculum not in (None, []) else None
        if self.entropy_actuator == []:
            raise ValueError("`entropy_actuator` is an empty list: name at least one kind, for example entropy_bonus")
        given = [name for name in BLOCKS if getattr(self, name) is not None]
        for name, kind in DEFAULT_KINDS.items():
            if given and getattr(self, name) is None:
                setattr(self, name, kind)
        for name in BLOCKS:
            block = getattr(self, name)
            if name == "entropy_actuator" and isinstance(block, list):
                self.entropy_actuator = [build_part(name, one) for one in block]
            elif block is not None:
                setattr(self, name, build_part(name, block))
        if given and self.entropy_schedule is None and self.entropy_controller.needs_target:
            raise ValueError(
                f"`{given[0]}` is set and `entropy_schedule` is not, so there is no target to hold: set "
                "`entropy_schedule`, for example {kind: constant, target: 0.4}"
            )

    @property
    def device(self) -> torch.device:
        # accelerate names the CPU of each process "cpu:0", and torch cannot load an optimizer to a device of that name
        device = super().device
        return torch.device("cpu") if device.type == "cpu" else device

    def build_parts(self) -> tuple[Schedule | None, Controller, list[Actuator]] | None:
        """Return schedule, controller and actuators for one loop alone, or `None` where no block names any."""
        self._build_blocks()  # they may have been set since
        if self.entropy_controller is None:
            return None
        schedule, controller, actuators = copy.deepcopy([getattr(self, name) for name in BLOCKS])
        return schedule, controller, actuators if isinstance(actuators, list) else [actuators]

    def build_stages(self) -> list[Stage] | None:
        """Return the stages of the `curriculum` block, or `None` where there is none."""
        self._build_blocks()
        return self.curriculum

    def to_dict(self) -> dict[str, Any]:
        """Return the fields with their parts as blocks, for JSON."""
        return {
            name: as_block(name, value) if name in (*BLOCKS, "curriculum") else value
            for name, value in super().to_dict().items()
        }
