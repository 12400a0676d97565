"""What a run is launched on: GPUs, how many processes, and what of the model each of them holds."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from .model_shape import NoEstimateError


Sharding = Literal["none", "ddp", "zero2", "zero3", "fsdp"]
NAMES = {"none": "not sharded", "ddp": "DDP", "zero2": "ZeRO-2", "zero3": "ZeRO-3", "fsdp": "FSDP"}


@dataclass(frozen=True)
class GPU:
    """
    A GPU, by its data sheet.

    Args:
        memory (`float`):
            GiB that a program sees.
        flops (`float`):
            Dense bf16 operations a second.
        bandwidth (`float`):
            Bytes a second between memory and cores.
    """

    memory: float
    flops: float
    bandwidth: float


GPUS = {
    "a100-40": GPU(39.4, 312e12, 1.555e12),
    "a100-80": GPU(79.1, 312e12, 2.039e12),
    "h100-80": GPU(79.1, 989e12, 3.35e12),
    "h200": GPU(139.7, 989e12, 4.8e12),
}


@dataclass(frozen=True)
class Launch:
    """
    A launch of processes, one a GPU.

    Args:
        num_processes (`int`):
            Over all machines.
        sharding (`str`):
            `none` and `ddp`: each process holds all. `zero2`: gradients and optimizer are divided. `zero3` and `fsdp`:
            weights, too.
        on_cpu (`bool`):
            Whether there is no GPU.
        is_assumed (`bool`):
            Whether nothing names the sharding.
        half (`bool`):
            Whether the launch asks for mixed precision in 16 bits, which runs then whatever the recipe says.
    """

    num_processes: int
    sharding: Sharding
    on_cpu: bool = False
    is_assumed: bool = False
    half: bool = False


def gpu_of(name: str) -> GPU:
    """The GPU of that name, or `ValueError` with those that there are."""
    if name not in GPUS:
        raise ValueError(f"--gpu is {name!r}: set it to {', '.join(GPUS)}")
    return GPUS[name]


def read_launch(config_file: str | None, num_processes: int | None) -> Launch:
    """
    The launch that `accelerate launch --config_file CONFIG_FILE --num_processes N` makes.

    Args:
        config_file (`str`, *optional*):
            The accelerate config. Without it several processes are taken to be ZeRO-3's.
        num_processes (`int`, *optional*):
            Takes the place of the file's.

    Raises:
        ValueError: for a file that does not exist or is none of accelerate's.
        NoEstimateError: for one that spreads the model in a way that is not known here, and without either argument.
    """
    if config_file is None:
        if num_processes is None:
            raise NoEstimateError(
                "name the launch's accelerate config, for example --config_file accelerate_configs/zero3.yaml, or give "
                "--num_processes"
            )
        return Launch(num_processes, "zero3" if num_processes > 1 else "none", is_assumed=num_processes > 1)
    config = _read_config(Path(config_file))
    processes = config.get("num_processes", 1) if num_processes is None else num_processes
    kind = str(config["distributed_type"])
    if config.get("use_cpu"):
        return Launch(processes, "none", on_cpu=True)
    if kind == "NO" and processes > 1:
        raise ValueError(
            f"{config_file} has distributed_type NO, with which accelerate starts one process of {processes}: set "
            "MULTI_GPU, DEEPSPEED or FSDP"
        )
    half = str(config.get("mixed_precision", "no")) in ("bf16", "fp16")
    if kind in ("NO", "MULTI_GPU"):
        return Launch(processes, "ddp" if processes > 1 else "none", half=half)
    if kind == "DEEPSPEED":
        return Launch(processes, _zero(config.get("deepspeed_config") or {}), half=half)
    if kind == "FSDP":
        return Launch(processes, _fsdp(config.get("fsdp_config") or {}), half=half)
    raise NoEstimateError(f"distributed_type {kind} of {config_file} is not known")


def planned_processes(config_file: str | None, num_processes: int | None) -> int | None:
    """Processes of a launch whose sharding need not be known, or `None` where nothing names them."""
    if num_processes is not None or config_file is None:
        return num_processes
    return _read_config(Path(config_file)).get("num_processes", 1)


def _read_config(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ValueError(f"the accelerate config {path} does not exist: give --config_file one of accelerate_configs/")
    try:
        config = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise ValueError(f"the accelerate config {path} is not valid YAML: {' '.join(str(error).split())}") from None
    processes = config.get("num_processes", 1) if isinstance(config, dict) else None
    if not isinstance(processes, int) or processes < 1 or "distributed_type" not in config:
        raise ValueError(f"{path} is no accelerate config: it needs num_processes, 1 or more, and distributed_type")
    return config


def _zero(config: dict[str, Any]) -> Sharding:
    elsewhere = [name for name in config if name.endswith("_device") and str(config[name]) not in ("none", "None")]
    stage = config.get("zero_stage")
    if elsewhere:
        raise NoEstimateError(f"{elsewhere[0]} of the accelerate config moves a part out of the GPU")
    if stage not in (2, 3):
        raise NoEstimateError(f"zero_stage of the accelerate config is {stage}, and 2 and 3 are known")
    return "zero2" if stage == 2 else "zero3"


def _fsdp(config: dict[str, Any]) -> Sharding:
    whole = config.get("fsdp_reshard_after_forward", config.get("fsdp_sharding_strategy", True))
    if config.get("fsdp_offload_params") or str(whole).lower() not in ("true", "1", "full_shard"):
        raise NoEstimateError("of FSDP only full sharding on the GPU is known (fsdp_reshard_after_forward: true)")
    return "fsdp"
