"""A workaround for DeepSpeed on a CPU, to be applied before the processes are set up."""

import os
from collections.abc import Mapping


def leave_out_compiled_collective(environ: Mapping[str, str] = os.environ) -> None:
    """
    Make DeepSpeed on a CPU use gloo alone (deepspeedai/DeepSpeed#7625).

    Otherwise DeepSpeed first compiles a collective over shared memory. This needs a C++ compiler and ninja in PATH,
    takes half a minute and changes no number. Call this before DeepSpeed sets up its processes.

    Args:
        environ (`Mapping[str, str]`, *optional*):
            The environment variables of the process, in which `accelerate launch` says whether it uses DeepSpeed.
    """
    if environ.get("ACCELERATE_USE_DEEPSPEED") != "true":
        return
    import deepspeed.ops
    from deepspeed.accelerator import get_accelerator

    if get_accelerator().device_name() == "cpu":
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
