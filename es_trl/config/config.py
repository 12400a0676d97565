"""`ESGRPOConfig`: TRL's configuration with blocks for the schedule, the controller, the actuator and the stages."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import torch
from trl import GRPOConfig

from ..control.base import Actuator, Controller
from ..control.schedules import Schedule
from ..curriculum.stages import Stage, check_cache, check_early
from .collectives import leave_out_compiled_collective, wait_for_gloo_at_exit
from .field_checks import check_fields
from .goal import apply_goal
from .methods import METHODS
from .micro_batches import check_micro_batches
from .parser import as_block, build_part, build_stages, read_block
from .presets import apply_method
from .registry import BLOCKS, PARTS
from .sizes import EARLY_PASS_RATES, check_counts, check_groups, check_pass_at_k, check_pass_rates
from .truncated_sampling import check_truncation


# Used when only a schedule is given: these two need no gains and work with every geometry and every loss.
DEFAULT_KINDS = {"entropy_controller": "self_tuned_pid", "entropy_actuator": "entropy_bonus"}


def _field(text: str, default: Any = None) -> Any:
    return field(default=default, metadata={"help": text})


def _block(part: str, block: str) -> Any:
    return _field(f"{part}: a mapping with `kind` ({', '.join(PARTS[block])}) and its arguments.")


@dataclass
class ESGRPOConfig(GRPOConfig):
    """
    Configuration of [`ESGRPOTrainer`]: [`~trl.GRPOConfig`], the blocks of the control loop, and the curriculum.

    A block is a mapping with a `kind` and the arguments of the class that the kind names. A block may also be the kind
    alone, which uses the default arguments, or the object itself. After construction the fields hold the objects.

    If only `entropy_schedule` is set, the controller is `self_tuned_pid` and the actuator is `entropy_bonus`. The
    paper's own method is `sign_step` on `clip_high`. Without any block the trainer makes the updates of
    `GRPOTrainer` up to rounding, and with `micro_batches: completions` bit for bit.

    Parameters:
        method (`str`, *optional*):
            Name of a published method (`config/methods.py`, `docs/methods/index.md`). The method gives a schedule, a
            controller, an actuator and values of some of TRL's fields. A value that you give yourself is kept, even if
            it is TRL's default or `None`. The controller and the actuator must be of the method's kinds, except with
            `es_pid`.
        entropy_schedule (`dict`, `str` or `Schedule`, *optional*):
            Target entropy over the run, in nats: kind `constant`, `linear`, `cosine`, `stable_anneal` or `piecewise`
            (`control/shapes.py`), or a function from the progress (0 to 1) to the target. For example
            `{kind: stable_anneal, target: 0.4, end: 0.05, ratio: 0.1}` or `StableAnnealSchedule(0.4, 0.05)`.
        goal_k (`int`, *optional*):
            The k of the pass@k that the run should raise, at least 1. It chooses the `target` and the `ratio` of a
            `stable_anneal` schedule where you leave them open: from 0.3 nats and 0.2 for k = 1 to 0.5 nats and 0.05
            from k = 64 on. This is a rule of thumb from one paper (`config/goal.py`); `python -m es_trl sweep`
            measures the best pair on your model.
        entropy_controller (`dict`, `str` or `Controller`, *optional*):
            Computes the control from the error: kind `self_tuned_pid`, `pid`, `sign_step` (the paper's Algorithm 1),
            `dead_band`, `band_sign`, `double_halve`, `hysteresis`, `pattern`, `hold` or `follow` (`control/`). Each
            trainer works on its own copy of an object.
        entropy_actuator (`dict`, `str`, `Actuator` or a list of these, *optional*):
            Computes settings of the trainer from the control: kind `clip_high`, `clip`, `entropy_bonus`, `kl_coef`,
            `difficulty_bonus`, `clamped_bonus`, `sample_filter`, `sample_weight`, `repo`, `flex_clip`, `ce_gppo`,
            `quantile_baseline`, `pass_at_k`, `clip_cov`, `kl_cov`, `adaptive_target` or `record_only` (`actuators/`).
            In a list, the next actuator takes over when one can no longer move entropy (`control/handover.py`).
        entropy_sensor (`str`, *optional*, defaults to `"rollout"`):
            Where the controller's entropy comes from. With `rollout` it is measured and the control moves once per
            rollout. With `update` it is estimated at every update from the log-probabilities of the loss, and the
            control moves after each update (`trainer/sensor.py`). The controller's numbers then count updates.
        curriculum (`list`, *optional*):
            The stages in order, as [`Stage`] objects or as mappings of its arguments (`curriculum/stages.py`). For
            example `[{start: onset, data: hard, num_generations: 32, max_completion_length: 16384}]`.
        dynamic_sampling_tries (`int`, *optional*, defaults to `0`):
            Maximum number of extra generations per rollout, at least 0 (off). They replace prompts whose completions
            all got the same reward (`curriculum/dynamic_sampling.py`). DAPO's code uses 10.
        early_generations (`int`, *optional*, defaults to `0`):
            Number of completions per prompt, from 1 to `num_generations - 1`, after which a prompt is left if its pass
            rate is outside `early_pass_rates`; 0 is off. The other prompts get the rest of their `num_generations`
            completions. `dynamic_sampling_tries` also bounds the generations that replace prompts that were left.
            MAI-Thinking-1 uses 16 of 128.
        early_pass_rates (`list[float]`, *optional*, defaults to `[0.05, 0.8]`):
            Lowest and highest pass rate, from 0 to 1, of a prompt that gets all its completions. It is the share of the
            early completions whose reward, without the overlong punishment, is above 0. The default is
            MAI-Thinking-1's.
        mask_uniform_prompts (`bool`, *optional*, defaults to `False`):
            Whether prompts whose completions all got the same reward are left out of the loss, the bonus and the
            measured entropy, as in Skywork-OR1. They are not replaced. If all prompts are such, none is left out.
            Dynamic sampling always leaves out those that it could not replace.
        overlong_cache (`int`, *optional*, defaults to `0`):
            Number of tokens before `max_completion_length` over which the soft overlong punishment falls from 0 to -1
            (DAPO, equation 13), at least 0 (off). The punishment is one more reward function. Its weight is 1, or the
            last of `reward_weights` if they are one more than your reward functions.
        micro_batches (`str`, *optional*, defaults to `"tokens"`):
            How the completions of an update are cut into micro-batches (`micro_batches/`). With `tokens`, they are
            ordered by length and cut by their tokens, without TRL's padding. The gradient is TRL's up to rounding.
            With `completions`, they are cut by their number as in TRL, and the trained weights are TRL's, bit for bit.
        max_tokens_per_micro_batch (`int`, *optional*):
            Most tokens of a micro-batch with `micro_batches: tokens`, padding included, at least 1. A single completion
            may have more. By default it is `per_device_train_batch_size` times the longest prompt of the rollout and a
            completion of `max_completion_length`.
        shared_prefixes (`bool`, *optional*):
            Whether the completions of a prompt that meet in a micro-batch compute their prompt once. By default they
            do where this takes fewer tokens and the model allows it. It needs `attn_implementation: sdpa`. With
            transformers' `generate`, the completions of a rollout then compute their prompt once, too. `True` raises an
            error where it cannot work (`docs/guides/speed.md`).
        eval_pass_at_k (`list[int]`, *optional*):
            Values of k, from 1 to `num_generations_eval`. An evaluation then also reports an unbiased pass@k for each,
            for example `eval_pass@8` for `[1, 8]`, and the run continues exactly as it would have without the
            evaluation. A completion is right if its reward, without the overlong punishment, is above 0.
        resume_with_changes (`bool`, *optional*, defaults to `False`):
            Whether a run may resume although the target of the next rollout jumps. It jumps if the schedule or the
            length of the run differs from the checkpoint's. All other changes are allowed and listed.

    Raises:
        ValueError: if a block names an unknown kind or argument, or if a value is out of its range.
    """

    method: str | None = _field(f"A published method: {', '.join(METHODS)}.")
    entropy_schedule: dict[str, Any] | str | Schedule | Callable[[float], float] | None = _block(
        "Target entropy", "entropy_schedule"
    )
    goal_k: int | None = _field("The k of the pass@k to raise, which chooses target and ratio of the schedule.")
    entropy_controller: dict[str, Any] | str | Controller | None = _block("Controller", "entropy_controller")
    entropy_actuator: dict[str, Any] | str | list[Any] | Actuator | None = _block("Actuator", "entropy_actuator")
    entropy_sensor: str = _field(
        "When entropy is measured for the control: once per `rollout`, or at each `update`.", "rollout"
    )
    curriculum: list[Any] | str | None = _field(
        "Stages: a list of mappings, each with `start` and the values that it changes."
    )
    dynamic_sampling_tries: int = _field("Most extra generations per rollout to replace prompts of equal rewards.", 0)
    early_generations: int = _field("Completions after which a prompt outside early_pass_rates is left; 0 is off.", 0)
    early_pass_rates: list[float] = field(
        default_factory=EARLY_PASS_RATES.copy,
        metadata={"help": "Lowest and highest pass rate of a prompt that is not left early."},
    )
    mask_uniform_prompts: bool = _field("Whether to leave prompts of equal rewards out of the loss.", False)
    overlong_cache: int = _field("Tokens before the longest completion over which the punishment grows.", 0)
    micro_batches: str = _field("What micro-batches are cut by: `tokens`, or `completions` as in TRL.", "tokens")
    max_tokens_per_micro_batch: int | None = _field("Most tokens of a micro-batch, with padding.")
    shared_prefixes: bool | None = _field("Whether the completions of a prompt compute it once; None where it pays.")
    eval_pass_at_k: list[int] | None = _field("Values of k of which evaluations report pass@k, for example [1, 8].")
    resume_with_changes: bool = _field("Whether to resume although the target of the next rollout jumps.", False)

    def __new__(cls, *args: Any, **kwargs: Any) -> "ESGRPOConfig":
        # A method keeps named values, even if they equal the default. Copies and pickles bring their own `_named`.
        config = super().__new__(cls)
        names = [each.name for each in fields(cls) if each.init]
        config._named = frozenset(names[: len(args)]) | kwargs.keys()
        return config

    def is_left_to_method(self, name: str) -> bool:
        """Return whether the method may set the field `name`, because the user gave no value for it."""
        return name not in self._named and getattr(self, name) == ESGRPOConfig.__dataclass_fields__[name].default

    @property
    def names_all(self) -> bool:
        """Whether every field was named, as TRL's parser does, which cannot tell the user's values from defaults."""
        return self._named.issuperset(each.name for each in fields(self) if each.init)

    @property
    def chooses_prompts(self) -> bool:
        """Whether rollouts choose among the prompts that they draw, by the rewards of their completions."""
        return self.dynamic_sampling_tries > 0 or self.early_generations > 0

    def __post_init__(self) -> None:
        for each in fields(self):  # JSON has no NumPy numbers
            if isinstance(value := getattr(self, each.name), np.generic):
                setattr(self, each.name, value.item())
        for name in ("method", *BLOCKS, "curriculum"):
            setattr(self, name, read_block(name, getattr(self, name)))
        check_counts(self)
        apply_goal(self)  # before the method, which keeps a schedule that is there
        apply_method(self)
        check_fields(self)
        self._build_blocks()  # refuses a bad block long before a model loads
        check_micro_batches(self)
        check_cache(self.overlong_cache, self.max_completion_length, "overlong_cache")
        check_pass_rates(self)
        self.early_pass_rates = [float(rate) for rate in self.early_pass_rates]  # as JSON has them
        if self.curriculum is None:
            check_early(self.early_generations, self.num_generations)
        leave_out_compiled_collective()  # `super().__post_init__` sets up the processes
        both_sizes = None not in (self.generation_batch_size, self.steps_per_generation)
        try:
            super().__post_init__()
        except ValueError:
            if getattr(self, "distributed_state", None) is not None:  # otherwise the error is not about sizes
                check_groups(self, both_sizes)  # TRL's message does not say what to set
            raise
        finally:
            wait_for_gloo_at_exit()
        check_pass_at_k(self)
        check_truncation(self)

    def _build_blocks(self) -> None:
        """Replace each block by the object that it describes."""
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
                f"`{given[0]}` is set but `entropy_schedule` is not, so the loop has no target: set "
                "`entropy_schedule`, for example {kind: constant, target: 0.4}"
            )

    @property
    def device(self) -> torch.device:
        """The device of this process."""
        # accelerate calls the CPU of each process "cpu:0", and torch cannot load an optimizer to a device of that name
        device = super().device
        return torch.device("cpu") if device.type == "cpu" else device

    def build_parts(self) -> tuple[Schedule | None, Controller, list[Actuator]] | None:
        """
        Build the parts of one control loop.

        Returns:
            `(Schedule, Controller, list[Actuator])`: copies, so that no two loops share a part. `None` if no block is
            set. The schedule is `None` if the controller needs no target and none is set.
        """
        self._build_blocks()  # a block may have been set after construction
        if self.entropy_controller is None:
            return None
        schedule, controller, actuators = copy.deepcopy([getattr(self, name) for name in BLOCKS])
        return schedule, controller, actuators if isinstance(actuators, list) else [actuators]

    def build_stages(self) -> list[Stage] | None:
        """
        Build the stages of the `curriculum` block.

        Returns:
            `list[Stage]`: the stages in order, or `None` without a `curriculum` block.
        """
        self._build_blocks()
        return self.curriculum

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values, with each part as its block."""
        return {
            name: as_block(name, value) if name in (*BLOCKS, "curriculum") else value
            for name, value in super().to_dict().items()
        }
