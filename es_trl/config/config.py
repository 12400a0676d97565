"""`ESGRPOConfig`: TRL's configuration, and the blocks that name schedule, controller, actuator and stages."""

import math
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import torch
from trl import GRPOConfig

from ..control.base import Actuator, Controller
from ..control.schedules import Schedule
from ..control.values import check_count
from ..curriculum.stages import Stage, check_cache
from ..trainer.launch import leave_out_compiled_collective
from .field_checks import check_fields
from .methods import METHODS, NONE, apply_method
from .parser import build, build_part, read_json
from .registry import BLOCKS, PARTS


# A schedule alone is held without gains, by what acts in every geometry and with every loss.
DEFAULT_KINDS = {"entropy_controller": "self_tuned_pid", "entropy_actuator": "entropy_bonus"}


@dataclass
class ESGRPOConfig(GRPOConfig):
    """
    Configuration of [`ESGRPOTrainer`]: [`~trl.GRPOConfig`], the blocks of the control loop, and the curriculum.

    A block is a mapping with a `kind` and the arguments of the class that the kind names, as documented there; a kind
    alone stands for its defaults. With only `entropy_schedule` the controller is `self_tuned_pid` and the actuator
    `entropy_bonus`; the paper's own method is `sign_step` on `clip_high`. With no block the trainer is `GRPOTrainer`.

    Parameters:
        method (`str`, *optional*):
            A published method by name (`methods.py`, `docs/methods.md`): its controller, its actuator and, where the
            field has its default, what it sets of TRL's fields. The blocks may change the arguments of its parts, and
            `entropy_schedule` takes the place of its schedule.
        entropy_schedule (`dict` or `str`, *optional*):
            Target entropy over the run: kind `constant`, `linear`, `cosine`, `stable_anneal` or `piecewise`
            (`schedules.py`). For example `{kind: stable_anneal, target: 0.4, end: 0.05, ratio: 0.1}`.
        entropy_controller (`dict` or `str`, *optional*):
            What turns the error into a control: kind `self_tuned_pid` (`self_tuned.py`), `pid` or `sign_step`
            (Algorithm 1, both in `controllers.py`), `dead_band` or `band_sign` (`band.py`), `hold` or `follow`
            (`open_loop.py`).
        entropy_actuator (`dict`, `list` or `str`, *optional*):
            What the control moves: kind `clip_high`, `clip`, `entropy_bonus` or `kl_coef` (`actuators.py`),
            `difficulty_bonus`, `clamped_bonus`, `sample_filter`, `sample_weight`, `clip_cov` or `kl_cov` (`effects/`),
            or `adaptive_target` (`open_loop.py`). Of a list of such blocks the next takes over where one cannot move
            entropy (`chain.py`).
        entropy_bonus_scale (`float`):
            What the coefficient of every entropy bonus of these actuators is multiplied by in the loss, and the
            published numbers of method `skywork`, above 0. Published coefficients are those of models of billions of
            parameters; the Countdown lab needs 50 times as much. TRL's own `entropy_coef` fields are taken as given.
        curriculum (`list`, *optional*):
            Stages, in their order, each a mapping of the arguments of [`Stage`] (`curriculum.py`). For example
            `[{start: onset, data: hard, num_generations: 32, max_completion_length: 16384}]`.
        dynamic_sampling_tries (`int`, *optional*):
            Generations beside a rollout's own in which prompts are replaced whose completions all got the same reward
            (`dynamic_sampling.py`), from 0 (off). Unset it is the method's, or 0; DAPO's code has 10.
        overlong_cache (`int`, *optional*):
            Tokens before the longest completion over which the soft overlong punishment grows to -1
            (`rewards/overlong.py`), from 0 (off). Unset it is the method's, or 0. It is one more reward function, of
            weight 1 unless a weight more than functions is given.

        resume_with_changes (`bool`):
            Whether a resume goes on where the target of the next rollout would jump, because the schedule or the length
            of the run is another one than the checkpoint's. Other changes are listed and need no leave.

    Raises:
        ValueError: for a block that names an unknown kind or argument, or a value out of its range.
    """

    _VALID_DICT_FIELDS = GRPOConfig._VALID_DICT_FIELDS + list(PARTS)

    method: str | None = field(default=None, metadata={"help": f"A published method: {', '.join(METHODS)}."})
    entropy_schedule: dict[str, Any] | str | None = field(
        default=None,
        metadata={"help": "Target entropy over the run: a mapping with `kind` and the arguments of that schedule."},
    )
    entropy_controller: dict[str, Any] | str | None = field(
        default=None,
        metadata={
            "help": f"Controller: a mapping with `kind` ({', '.join(PARTS['entropy_controller'])}) and its arguments."
        },
    )
    entropy_actuator: dict[str, Any] | str | list[Any] | None = field(
        default=None,
        metadata={
            "help": f"Actuator: a mapping with `kind` ({', '.join(PARTS['entropy_actuator'])}) and its arguments, or a "
            "list of them."
        },
    )
    entropy_bonus_scale: float = field(
        default=1.0,
        metadata={"help": "What every coefficient of an entropy bonus is multiplied by; small models need more."},
    )
    curriculum: list[Any] | str | None = field(
        default=None,
        metadata={"help": "Stages: a list of mappings with `start` (`onset`, or a share of the run) and what changes."},
    )
    dynamic_sampling_tries: int | None = field(
        default=None,
        metadata={"help": "Generations of fresh prompts for those whose rewards are all equal, at most; 0 is off."},
    )
    overlong_cache: int | None = field(
        default=None,
        metadata={"help": "Tokens before the longest completion over which reward is taken away; 0 is off."},
    )
    resume_with_changes: bool = field(
        default=False,
        metadata={"help": "Whether a resume goes on where the target would jump, as schedule or length are others."},
    )

    def __post_init__(self):
        _take_numpy_numbers(self)
        if self.method in NONE:
            self.method = None
        if not (isinstance(self.entropy_bonus_scale, int | float) and 0.0 < self.entropy_bonus_scale < float("inf")):
            raise ValueError(
                f"entropy_bonus_scale is {self.entropy_bonus_scale!r}, and it multiplies coefficients: set a finite "
                "number above 0, for example 1"
            )
        _check_counts(self)
        apply_method(self)
        check_fields(self)
        for name in BLOCKS:
            if getattr(self, name) in NONE:
                setattr(self, name, None)
        for name in ("dynamic_sampling_tries", "overlong_cache"):
            if getattr(self, name) is None:
                setattr(self, name, 0)
        check_cache(self.overlong_cache, self.max_completion_length, "overlong_cache")
        leave_out_compiled_collective()  # the processes are set up in the next lines
        both_sizes = None not in (self.generation_batch_size, self.steps_per_generation)
        try:
            super().__post_init__()
        except ValueError:
            if getattr(self, "distributed_state", None) is not None:  # else it is not the sizes that were refused
                _check_groups(self, both_sizes)  # says what to set, where TRL says what is wrong
            raise
        if self.curriculum in (*NONE, []):
            self.curriculum = None
        for name in ("entropy_actuator", "curriculum"):
            if isinstance(getattr(self, name), str) and getattr(self, name).startswith("["):
                setattr(self, name, read_json(name, getattr(self, name)))  # as it comes from a command line
        self.build_parts()  # refuses a bad block here, long before a model loads
        self.build_stages()

    @property
    def device(self) -> torch.device:
        # accelerate names the CPU of each process "cpu:0", and torch cannot load an optimizer to a device of that name
        device = super().device
        return torch.device("cpu") if device.type == "cpu" else device

    def build_parts(self) -> tuple[Schedule | None, Controller, list[Actuator]] | None:
        """Schedule, controller and actuators that the blocks name, or `None` where there is no block."""
        given = {name: getattr(self, name) for name in DEFAULT_KINDS}
        if self.entropy_schedule is None and not _holds(given["entropy_controller"]):
            for name, block in given.items():
                if block is not None:
                    raise ValueError(
                        f"`{name}` is set and `entropy_schedule` is not, so there is no target to hold: set "
                        "`entropy_schedule`, for example {kind: constant, target: 0.4}"
                    )
            return None
        blocks = {name: DEFAULT_KINDS[name] if value is None else value for name, value in given.items()}
        actuators = blocks["entropy_actuator"]
        if actuators == []:
            raise ValueError("`entropy_actuator` is an empty list: name at least one kind, for example entropy_bonus")
        return (
            None if self.entropy_schedule is None else build_part("entropy_schedule", self.entropy_schedule),
            build_part("entropy_controller", blocks["entropy_controller"]),
            [build_part("entropy_actuator", a) for a in (actuators if isinstance(actuators, list) else [actuators])],
        )

    def build_stages(self) -> list[Stage] | None:
        """The stages that the `curriculum` block names, or `None` where there is none."""
        if self.curriculum is None:
            return None
        if not isinstance(self.curriculum, list):
            raise ValueError(
                f"`curriculum` is {self.curriculum!r}, and it lists stages: set for example "
                "[{start: onset, num_generations: 32}]"
            )
        return [build("curriculum", f"entry {i}", Stage, values) for i, values in enumerate(self.curriculum, start=1)]


def _holds(controller: Any) -> bool:
    """Whether a controller's block names the one that needs no target."""
    return controller == "hold" or (isinstance(controller, dict) and controller.get("kind") == "hold")


def _take_numpy_numbers(args: ESGRPOConfig) -> None:
    """Make NumPy's numbers Python's, which can be counted with and written as JSON."""
    for each in fields(args):
        value = getattr(args, each.name)
        if isinstance(value, np.generic):
            setattr(args, each.name, value.item())


def _check_counts(args: ESGRPOConfig) -> None:
    """Refuse counts that are none, before anything divides by them."""
    names = ["num_generations", "per_device_train_batch_size", "gradient_accumulation_steps", "num_iterations"]
    optional = ("steps_per_generation", "generation_batch_size", "max_completion_length")
    names += [name for name in optional if getattr(args, name) is not None]
    own = [name for name in ("dynamic_sampling_tries", "overlong_cache") if getattr(args, name) is not None]
    for name, lowest in (dict.fromkeys(names, 1) | dict.fromkeys(own, 0)).items():
        check_count(name, getattr(args, name), lowest)


def _check_groups(args: ESGRPOConfig, both_sizes: bool) -> None:
    """Refuse a rollout that would split the completions of one prompt, has none to compare or has two sizes."""
    if args.num_generations < 2:
        raise ValueError(
            f"num_generations is {args.num_generations}, and an advantage compares completions of one prompt: set it "
            "to 2 or more, for example 8"
        )
    completions, micro_batch = args.generation_batch_size, args.per_device_train_batch_size * args.world_size
    if both_sizes:
        raise ValueError(
            "`generation_batch_size` and `steps_per_generation` are both set, and each follows from the other: leave "
            "one of them out"
        ) from None
    if completions is not None and completions % micro_batch != 0:
        unit = math.lcm(micro_batch, args.num_generations)
        raise ValueError(
            f"`generation_batch_size` must be a multiple of {micro_batch} (per_device_train_batch_size x processes) "
            f"and of num_generations, {args.num_generations}, got {completions}: set "
            f"{math.ceil(completions / unit) * unit}"
        ) from None
    if completions is not None and completions % args.num_generations != 0:
        raise ValueError(
            f"num_generations is {args.num_generations} and a rollout has {completions} completions "
            "(per_device_train_batch_size x processes x steps_per_generation), so those of one prompt would be split: "
            f"set one of the three so that {args.num_generations} divides their product"
        ) from None
    rows, group = args.per_device_eval_batch_size * args.world_size, args.num_generations_eval or args.num_generations
    if args.eval_strategy != "no" and rows % group != 0:
        raise ValueError(
            f"`per_device_eval_batch_size` times the processes must be a multiple of {group}, the completions per "
            f"prompt, got {rows}: set it to {group}, or num_generations_eval to a divisor of {rows}"
        ) from None
