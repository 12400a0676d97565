"""GPUs, and how a launch divides a model between its processes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from .model_shape import NoProjectionError


Sharding = Literal["none", "ddp", "zero2", "zero3", "fsdp"]
NAMES = {"none": "not sharded", "ddp": "DDP", "zero2": "ZeRO-2", "zero3": "ZeRO-3", "fsdp": "FSDP"}


@dataclass(frozen=True)
class GPU:
    """A GPU's data sheet: GiB that a program sees, dense bf16 operations and bytes from memory per second."""

    name: str
    memory: float
    flops: float
    bandwidth: float


GPUS = {
    gpu.name: gpu
    for gpu in (
        GPU("a100-40", 39.4, 312e12, 1.555e12),
        GPU("a100-80", 79.1, 312e12, 2.039e12),
        GPU("h100-80", 79.1, 989e12, 3.35e12),
        GPU("h200", 139.7, 989e12, 4.8e12),
    )
}


@dataclass(frozen=True)
class Launch:
    """
    A launch of one process per GPU.

    Args:
        num_processes (`int`):
            Processes on all machines.
        sharding (`str`):
            `none` and `ddp`: each process holds all. `zero2`: gradients and optimizer are divided. `zero3` and `fsdp`:
            weights, too.
        on_cpu (`bool`):
            Whether there is no GPU.
        half (`bool`):
            Whether the launch asks for mixed precision in 16 bits, which then runs whatever the recipe says.
    """

    num_processes: int
    sharding: Sharding
    on_cpu: bool = False
    half: bool = False


def read_config(path: str | None) -> dict[str, Any]:
    """
    Return an accelerate config, empty without a path.

    Raises:
        ValueError: for a file that does not exist or is no accelerate config.
    """
    if path is None:
        return {}
    if not Path(path).is_file():
        raise ValueError(f"the accelerate config {path} does not exist: give --config_file one of accelerate_configs/")
    try:
        config = yaml.safe_load(Path(path).read_text())
    except yaml.YAMLError as error:
        raise ValueError(f"the accelerate config {path} is not valid YAML: {' '.join(str(error).split())}") from None
    processes = config.get("num_processes", 1) if isinstance(config, dict) else None
    if not isinstance(processes, int) or processes < 1 or "distributed_type" not in config:
        raise ValueError(f"{path} is no accelerate config: it needs num_processes, 1 or more, and distributed_type")
    return {"num_processes": 1, **config}


def launch_of(config: dict[str, Any], num_processes: int | None) -> Launch:
    """
    Return the launch of an accelerate config, in which `num_processes` takes the place of its own.

    Raises:
        ValueError: for several processes that the config does not connect.
        NoProjectionError: for unknown ways to divide the model, and where nothing names the processes.
    """
    processes = config.get("num_processes") if num_processes is None else num_processes
    if processes is None:
        raise NoProjectionError(
            "name the launch's accelerate config, for example --config_file accelerate_configs/zero3.yaml, or give "
            "--num_processes"
        )
    if not config:
        return Launch(processes, "zero3" if processes > 1 else "none")
    kind = str(config["distributed_type"])
    if config.get("use_cpu"):
        return Launch(processes, "none", on_cpu=True)
    if kind == "NO" and processes > 1:
        raise ValueError(
            f"the accelerate config has distributed_type NO, which starts one process of {processes}: set MULTI_GPU, "
            "DEEPSPEED or FSDP"
        )
    half = str(config.get("mixed_precision", "no")) in ("bf16", "fp16")
    if kind in ("NO", "MULTI_GPU"):
        return Launch(processes, "ddp" if processes > 1 else "none", half=half)
    if kind == "DEEPSPEED":
        return Launch(processes, _zero(config.get("deepspeed_config") or {}), half=half)
    if kind == "FSDP":
        return Launch(processes, _fsdp(config.get("fsdp_config") or {}), half=half)
    raise NoProjectionError(f"distributed_type {kind} of the accelerate config is not known")


def _zero(config: dict[str, Any]) -> Sharding:
    elsewhere = [name for name in config if name.endswith("_device") and str(config[name]) not in ("none", "None")]
    stage = config.get("zero_stage")
    if elsewhere:
        raise NoProjectionError(f"{elsewhere[0]} of the accelerate config moves a part out of the GPU")
    if stage not in (2, 3):
        raise NoProjectionError(f"zero_stage of the accelerate config is {stage}, and 2 and 3 are known")
    return "zero2" if stage == 2 else "zero3"


def _fsdp(config: dict[str, Any]) -> Sharding:
    whole = config.get("fsdp_reshard_after_forward", config.get("fsdp_sharding_strategy", True))
    if config.get("fsdp_offload_params") or str(whole).lower() not in ("true", "1", "full_shard"):
        raise NoProjectionError("FSDP is known only with full sharding on the GPU (fsdp_reshard_after_forward: true)")
    return "fsdp"
