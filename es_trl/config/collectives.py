"""A workaround for DeepSpeed on a CPU, which must stand before the processes are set up."""

import os
from collections.abc import Mapping


def leave_out_compiled_collective(environ: Mapping[str, str] = os.environ) -> None:
    """
    Let DeepSpeed on a CPU use gloo alone, before it sets up its processes (deepspeedai/DeepSpeed#7625).

    It would compile a collective over shared memory first, which needs a C++ compiler and ninja in PATH, takes half a
    minute and changes no number. `environ` is what `accelerate launch` left for its processes.
    """
    if environ.get("ACCELERATE_USE_DEEPSPEED") != "true":
        return
    import deepspeed.ops
    from deepspeed.accelerator import get_accelerator

    if get_accelerator().device_name() == "cpu":
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
