"""Checks that the launched processes match the accelerate configuration and the recipe.

accelerate may start something else than its configuration asks for, without an error. With `NO` or `MULTI_CPU` and
several processes, it starts one process. With FSDP on a CPU, it trains with DDP. Such a run would finish, but it would
not be the run that was configured.
"""

import contextlib
import os
from collections.abc import Iterator, Mapping

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType
from transformers import Trainer, TrainingArguments
from transformers.utils import logging

from ..checkpoints.weights import held


FSDP_1 = "FSDP 1 is not supported: set `fsdp_version: 2`"

logger = logging.get_logger(__name__)


def check_launch(args: TrainingArguments, environ: Mapping[str, str] = os.environ) -> None:
    """Raise unless the launch started the processes that its configuration asks for; call it before the model loads."""
    state = args.distributed_state
    launched = "ACCELERATE_MIXED_PRECISION" in environ and "ACCELERATE_USE_CPU" in environ
    # accelerate sets an address for a single process only where its configuration asks for several
    if launched and "MASTER_ADDR" in environ and "LOCAL_RANK" not in environ:
        raise ValueError(
            "accelerate started one process but MASTER_ADDR is set as for several: for several processes, set "
            "`distributed_type` to MULTI_GPU (DDP, with `use_cpu: true` on a CPU), DEEPSPEED or FSDP and leave out "
            "`--cpu`; for one process, unset MASTER_ADDR"
        )
    if args.world_size == 1 and int(environ.get("SLURM_STEP_NUM_TASKS", 1)) > 1:
        raise ValueError(
            f"srun started {environ['SLURM_STEP_NUM_TASKS']} processes that are not connected, so each would train a "
            "separate run: start one `accelerate launch` per node, as recipes/slurm.sh does"
        )
    if environ.get("ACCELERATE_USE_FSDP") != "true":
        return
    if environ.get("FSDP_VERSION", "1") != "2":
        raise ValueError(FSDP_1)
    if state.distributed_type == DistributedType.MULTI_CPU:
        raise ValueError(
            "the accelerate configuration asks for FSDP but accelerate trains with DDP on a CPU: set "
            "`distributed_type` to MULTI_GPU (DDP) or DEEPSPEED, or run on GPUs"
        )


def check_sharding(trainer: Trainer, environ: Mapping[str, str] = os.environ) -> str:
    """Return a description of how the run is spread over its processes, or raise if this is not as configured."""
    accelerator, parameters = trainer.accelerator, list(trainer.model_wrapped.parameters())
    kind, shards = _kind(accelerator)
    for name in ("DeepSpeed", "FSDP"):
        asked = environ.get(f"ACCELERATE_USE_{name.upper()}") == "true" or getattr(trainer.args, name.lower())
        if asked and not kind.startswith(name):
            raise ValueError(
                f"the launch or the recipe asks for {name} but the run has {kind}: read the warnings above, and check "
                "the accelerate configuration"
            )
    plugin = accelerator.state.fsdp_plugin if kind.startswith("FSDP") else None
    if plugin is not None and plugin.fsdp_version != 2:
        raise ValueError(FSDP_1)
    own = sum(held(parameter).numel() for parameter in parameters)
    whole = sum(getattr(parameter, "ds_numel", parameter.numel()) for parameter in parameters)
    processes = accelerator.num_processes
    if shards and processes > 1 and own >= whole:
        raise ValueError(
            f"the run was launched with {kind} on {processes} processes but each process holds all {whole:,} "
            "parameters, so nothing is sharded: check the accelerate configuration, and the layers that it wraps"
        )
    # with this option only process 0 reads the weights, and TRL shards the reference model without sending them
    if plugin is not None and trainer.ref_model is not None and plugin.cpu_ram_efficient_loading:
        raise ValueError(
            f"`beta` is {trainer.beta:g} but FSDP loads the weights on one process only, so the reference model would "
            "have random weights on the others: set `fsdp_cpu_ram_efficient_loading: false` in the accelerate "
            "configuration, or set `beta` to 0"
        )
    word = "process" if processes == 1 else "processes"
    spread = f"{kind} on {processes} {word}; this process holds {own:,} of {whole:,} parameters"
    precision = accelerator.mixed_precision
    if precision == "no" or trainer.args.bf16 or trainer.args.fp16:
        return spread
    return (
        f"{spread}\nwarning: the launch sets mixed_precision {precision} although bf16 and fp16 are false in the "
        f"recipe, so the run trains in {precision}: launch with `--mixed_precision no` for full precision"
    )


@contextlib.contextmanager
def lost_contact(trainer: Trainer) -> Iterator[None]:
    """Log what to do, above the traceback, when this process has lost contact with another one."""
    try:
        yield
    except RuntimeError as error:
        # gloo raises a plain RuntimeError whose message has its name
        if isinstance(error, torch.distributed.DistError) or "gloo" in str(error):
            logger.error(
                f"process {trainer.accelerator.process_index} of {trainer.accelerator.num_processes} lost contact with "
                f"another process after update {trainer.state.global_step}: find the reason in the logs of the other "
                f"processes. Then start the same commands with `--resume_from_checkpoint true` to resume from the "
                f"latest whole checkpoint in {trainer.args.output_dir}; leave the option out if there is none yet"
            )
        raise


def _kind(accelerator: Accelerator) -> tuple[str, bool]:
    """Return the name of the parallelism, and whether it shards the parameters over the processes."""
    if accelerator.distributed_type == DistributedType.DEEPSPEED:
        stage = accelerator.deepspeed_plugin.zero_stage
        return f"DeepSpeed ZeRO-{stage}", stage == 3
    if accelerator.distributed_type == DistributedType.FSDP:
        return "FSDP2", True
    return ("DDP", False) if accelerator.num_processes > 1 else ("no sharding", False)
