"""Workarounds for collectives on a CPU: one before the processes are set up, and one after it."""

import atexit
import os
import time
from collections.abc import Mapping

import torch


_PAUSE = 0.3  # seconds


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


def wait_for_gloo_at_exit() -> None:
    """
    Give gloo's threads time to drop their last tensor before Python ends (pytorch/pytorch#179291).

    Otherwise they may drop it while Python ends, which aborts the process with exit code -6 after its work is done.
    Call this after the processes are set up. It does nothing with other backends, and nothing more when called again.
    """
    if torch.distributed.is_initialized() and "gloo" in torch.distributed.get_backend():
        atexit.unregister(_pause)
        atexit.register(_pause)


def _pause() -> None:
    time.sleep(_PAUSE)
