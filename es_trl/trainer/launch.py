"""Is the run that was launched the run that was asked for?

A launcher that cannot do what its configuration says may do something else without a word: accelerate starts one
process for `MULTI_CPU` and for `NO` with several, and trains with DDP where FSDP is asked for on a CPU. The run would
end well, and be another one.
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


FSDP_1 = "FSDP 1 is asked for, which is not supported: set `fsdp_version: 2`"

logger = logging.get_logger(__name__)


def check_launch(args: TrainingArguments, environ: Mapping[str, str] = os.environ) -> None:
    """Raise unless the launch started what it was told to start; before the model loads."""
    state = args.distributed_state
    launched = "ACCELERATE_MIXED_PRECISION" in environ and "ACCELERATE_USE_CPU" in environ
    # accelerate's launcher of single processes gives an address only where its configuration counts several
    if launched and "MASTER_ADDR" in environ and "LOCAL_RANK" not in environ:
        raise ValueError(
            "accelerate has started one process, and MASTER_ADDR is set as for several. Either the accelerate "
            "configuration asks for several: set `distributed_type: MULTI_GPU` for DDP (with `use_cpu: true` on a "
            "CPU), DEEPSPEED or FSDP, and leave out `--cpu`. Or one is meant: unset MASTER_ADDR"
        )
    if args.world_size == 1 and int(environ.get("SLURM_STEP_NUM_TASKS", 1)) > 1:
        raise ValueError(
            f"srun has started {environ['SLURM_STEP_NUM_TASKS']} processes that know nothing of each other, and each "
            "would be a run of its own: start one `accelerate launch` per node, as recipes/slurm.sh does"
        )
    if environ.get("ACCELERATE_USE_FSDP") != "true":
        return
    if environ.get("FSDP_VERSION", "1") != "2":
        raise ValueError(FSDP_1)
    if state.distributed_type == DistributedType.MULTI_CPU:
        raise ValueError(
            "the accelerate configuration asks for FSDP, and accelerate trains with DDP on a CPU instead: set "
            "`distributed_type: MULTI_GPU` for DDP, or DEEPSPEED, or run on GPUs"
        )


def check_sharding(trainer: Trainer, environ: Mapping[str, str] = os.environ) -> str:
    """Say how the run is spread over its processes, or raise where that is not what was asked for."""
    accelerator, parameters = trainer.accelerator, list(trainer.model_wrapped.parameters())
    kind, shards = _kind(accelerator)
    for name in ("DeepSpeed", "FSDP"):
        asked = environ.get(f"ACCELERATE_USE_{name.upper()}") == "true" or getattr(trainer.args, name.lower())
        if asked and not kind.startswith(name):
            raise ValueError(
                f"the launch or the recipe asks for {name}, and the run came up with {kind}: look at the warnings above"
            )
    plugin = accelerator.state.fsdp_plugin if kind.startswith("FSDP") else None
    if plugin is not None and plugin.fsdp_version != 2:
        raise ValueError(FSDP_1)
    own = sum(held(parameter).numel() for parameter in parameters)
    whole = sum(getattr(parameter, "ds_numel", parameter.numel()) for parameter in parameters)
    processes = accelerator.num_processes
    if shards and processes > 1 and own >= whole:
        raise ValueError(
            f"the run was launched with {kind} on {processes} processes, and each holds all {whole:,} parameters: "
            "nothing is sharded; look at what wraps the model, and at the accelerate configuration"
        )
    # TRL shards the reference model without sending it the weights, which only the first process has read then
    if plugin is not None and trainer.ref_model is not None and plugin.cpu_ram_efficient_loading:
        raise ValueError(
            f"beta is {trainer.beta:g} and FSDP loads the weights on one process alone, which leaves the reference "
            "model with random ones on the others: set `fsdp_cpu_ram_efficient_loading: false` in the accelerate "
            "configuration, or beta to 0"
        )
    word = "process" if processes == 1 else "processes"
    spread = f"{kind} on {processes} {word}; this one holds {own:,} of {whole:,} parameters"
    precision = accelerator.mixed_precision
    if precision == "no" or trainer.args.bf16 or trainer.args.fp16:
        return spread
    return (
        f"{spread}\nwarning: bf16 and fp16 are false in the recipe and the launch has mixed_precision {precision}, "
        "which is what runs: launch with `--mixed_precision no` if that is not meant"
    )


@contextlib.contextmanager
def lost_contact(trainer: Trainer) -> Iterator[None]:
    """Say what to do where another process of the run cannot be reached any more, above the traceback of it."""
    try:
        yield
    except RuntimeError as error:
        # gloo raises a plain RuntimeError with its name in it
        if isinstance(error, torch.distributed.DistError) or "gloo" in str(error):
            logger.error(
                f"process {trainer.accelerator.process_index} of {trainer.accelerator.num_processes} has lost contact "
                f"with another one after update {trainer.state.global_step}: the log of its machine says why it ended. "
                f"When all are back, start the same commands with `--resume_from_checkpoint true`, and the run goes on "
                f"from the latest whole checkpoint in {trainer.args.output_dir}; without that, if there is none yet"
            )
        raise


def _kind(accelerator: Accelerator) -> tuple[str, bool]:
    """How the processes share the work, and whether each is to hold a part of the parameters."""
    if accelerator.distributed_type == DistributedType.DEEPSPEED:
        stage = accelerator.deepspeed_plugin.zero_stage
        return f"DeepSpeed ZeRO-{stage}", stage == 3
    if accelerator.distributed_type == DistributedType.FSDP:
        return "FSDP2", True
    return ("DDP", False) if accelerator.num_processes > 1 else ("no sharding", False)
