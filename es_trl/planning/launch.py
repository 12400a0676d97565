"""GPUs, and how a launch divides a model between its processes."""

from dataclasses import dataclass
from typing import Any, Literal

import yaml
from accelerate.commands.config.config_args import load_config_from_file

from .model_shape import NoProjectionError


Sharding = Literal["none", "ddp", "zero2", "zero3", "fsdp"]
DEEPSPEED, SHARDS_WEIGHTS = ("zero2", "zero3"), ("zero3", "fsdp")
NAMES = {"none": "not sharded", "ddp": "DDP", "zero2": "ZeRO-2", "zero3": "ZeRO-3", "fsdp": "FSDP"}


@dataclass(frozen=True)
class GPU:
    """A GPU by its data sheet."""

    name: str
    memory: float  # GiB that a program sees
    flops: float  # dense bf16 operations per second
    bandwidth: float  # bytes per second between memory and cores


_SHEETS = (
    GPU("a100-40", 39.4, 312e12, 1.555e12),
    GPU("a100-80", 79.1, 312e12, 2.039e12),
    GPU("h100-80", 79.1, 989e12, 3.35e12),
    GPU("h200", 139.7, 989e12, 4.8e12),
)
GPUS = {gpu.name: gpu for gpu in _SHEETS}


@dataclass(frozen=True)
class Launch:
    """A launch of one process per GPU."""

    num_processes: int  # on all machines
    sharding: Sharding  # zero2 divides gradients and optimizer; zero3 and fsdp the weights, too
    is_assumed: bool = False  # whether nothing names the sharding
    half: bool = False  # whether it asks for 16-bit mixed precision, which then runs whatever the recipe says


def read_config(path: str) -> Any:
    """Return an accelerate config; raise a ValueError for a file that does not exist or is none."""
    try:
        config = load_config_from_file(path)
    except FileNotFoundError:
        raise ValueError(f"{path} does not exist: give --config_file one of accelerate_configs/") from None
    except (ValueError, TypeError, AttributeError, yaml.YAMLError) as error:
        raise ValueError(f"{path} is no accelerate config: {' '.join(str(error).split())}") from None
    if config.num_processes < 1:
        raise ValueError(f"`num_processes` of {path} must be 1 or more, got {config.num_processes}: set it")
    return config


def launch_of(config: Any, num_processes: int | None) -> Launch:
    """Return the launch of an accelerate config, in which `num_processes` takes the place of its own."""
    if config is None and num_processes is None:
        example = "--config_file accelerate_configs/zero3.yaml"
        raise NoProjectionError(f"name the launch's accelerate config, for example {example}, or give --num_processes")
    if config is None:
        return Launch(num_processes, "zero3" if num_processes > 1 else "none", is_assumed=num_processes > 1)
    processes = num_processes or config.num_processes
    return Launch(processes, _sharding(config, processes), half=config.mixed_precision in ("bf16", "fp16"))


def _sharding(config: Any, processes: int) -> Sharding:
    kind, zero, fsdp = config.distributed_type.value, config.deepspeed_config or {}, config.fsdp_config or {}
    if kind == "DEEPSPEED":
        moved = [name for name in zero if name.endswith("_device") and str(zero[name]).lower() != "none"]
        if moved:
            raise NoProjectionError(f"{moved[0]} of the accelerate config moves a part out of the GPU")
        stage = zero.get("zero_stage")
        if stage not in (2, 3):
            raise NoProjectionError(f"zero_stage of the accelerate config is {stage}, and 2 and 3 are known")
        return "zero2" if stage == 2 else "zero3"
    if kind == "FSDP":
        whole = fsdp.get("fsdp_reshard_after_forward", fsdp.get("fsdp_sharding_strategy", True))
        if fsdp.get("fsdp_offload_params") or str(whole).lower() not in ("true", "1", "full_shard"):
            raise NoProjectionError("FSDP is known only with fsdp_reshard_after_forward: true (full sharding) on GPUs")
        return "fsdp"
    if kind not in ("NO", "MULTI_GPU"):
        raise NoProjectionError(f"distributed_type {kind} of the accelerate config is not known")
    if kind == "NO" and processes > 1:
        set_to = "set MULTI_GPU, DEEPSPEED or FSDP"
        raise ValueError(f"`distributed_type` must connect the {processes} processes, got NO: {set_to}")
    return "ddp" if processes > 1 else "none"
