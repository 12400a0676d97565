"""GPUs by their data sheets, and launches: how many processes they have, and how these share the model."""

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
    memory: float  # GiB that a program can use
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

    num_processes: int  # on all machines together
    sharding: Sharding  # zero2 shards gradients and optimizer; zero3 and fsdp shard the weights, too
    is_assumed: bool = False  # whether the sharding is a guess, as no accelerate config is given
    half: bool = False  # whether it sets 16-bit mixed precision, which overrides the recipe


def read_config(path: str) -> Any:
    """Read an accelerate config, or raise a ValueError if the file does not exist or is not such a config."""
    try:
        config = load_config_from_file(path)
    except FileNotFoundError:
        raise ValueError(f"{path} does not exist: give --config_file one of accelerate_configs/") from None
    except (ValueError, TypeError, AttributeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{path} is not an accelerate config ({reason}): give one of accelerate_configs/") from None
    if config.num_processes < 1:
        raise ValueError(
            f"`num_processes` of {path} must be 1 or more, got {config.num_processes}: set the number of GPUs"
        )
    return config


def launch_of(config: Any, num_processes: int | None) -> Launch:
    """Return the launch that an accelerate config describes. `num_processes` overrides the number in the config."""
    if config is None and num_processes is None:
        example = "--config_file accelerate_configs/zero3.yaml"
        raise NoProjectionError(f"the launch is not known: give {example}, or another config, or --num_processes")
    if config is None:
        return Launch(num_processes, "zero3" if num_processes > 1 else "none", is_assumed=num_processes > 1)
    processes = num_processes or config.num_processes
    return Launch(processes, _sharding(config, processes), half=config.mixed_precision in ("bf16", "fp16"))


def _sharding(config: Any, processes: int) -> Sharding:
    kind, zero, fsdp = config.distributed_type.value, config.deepspeed_config or {}, config.fsdp_config or {}
    if kind == "DEEPSPEED":
        moved = [name for name in zero if name.endswith("_device") and str(zero[name]).lower() != "none"]
        if moved:
            raise NoProjectionError(f"the projection does not cover {moved[0]} of the accelerate config")
        stage = zero.get("zero_stage")
        if stage not in (2, 3):
            raise NoProjectionError(f"the projection covers zero_stage 2 and 3, but the accelerate config has {stage}")
        return "zero2" if stage == 2 else "zero3"
    if kind == "FSDP":
        whole = fsdp.get("fsdp_reshard_after_forward", fsdp.get("fsdp_sharding_strategy", True))
        if fsdp.get("fsdp_offload_params") or str(whole).lower() not in ("true", "1", "full_shard"):
            raise NoProjectionError("the projection covers only FSDP with full sharding and without offloading")
        return "fsdp"
    if kind not in ("NO", "MULTI_GPU"):
        raise NoProjectionError(f"the projection does not cover distributed_type {kind} of the accelerate config")
    if kind == "NO" and processes > 1:
        allowed = "MULTI_GPU, DEEPSPEED or FSDP"
        raise ValueError(f"`distributed_type` must be {allowed} for {processes} processes, got NO: set one of them")
    return "ddp" if processes > 1 else "none"
