"""Differences between the run that wrote a checkpoint and the run that resumes from it, and their effects."""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Any

from ..config.config import ESGRPOConfig
from ..control.loop import EntropyLoop
from ..curriculum.planned import PlannedStage


_SAMPLING = "completions are sampled differently, so entropy cannot be compared with the earlier rollouts"
_LENGTH = "progress is counted over another length, so targets, stages and learning rates differ"
_ORDER = "the prompts come in another order"
_KEPT = "the optimizer keeps the checkpoint's value"
_OTHER = "the rest of the run differs from a run without the change"
_RATE = "the learning rate follows another curve"

_MEANINGS: dict[str, str] = {
    **dict.fromkeys(("temperature", "top_p", "top_k", "min_p", "repetition_penalty", "generation_kwargs"), _SAMPLING),
    **dict.fromkeys(("max_steps", "num_train_epochs"), _LENGTH),
    **dict.fromkeys(("learning_rate", "weight_decay", "adam_beta1", "adam_beta2", "adam_epsilon", "optim"), _KEPT),
    **dict.fromkeys(("seed", "data_seed", "shuffle_dataset"), _ORDER),
    **dict.fromkeys(("lr_scheduler_type", "lr_scheduler_kwargs", "warmup_steps"), _RATE),
    "schedule": "the remaining targets differ",
    "controller": "the control reacts differently",
    "entropy_sensor": "the control moves at other times",
    "actuators": "the control is moved into the new bounds",
    "stages": "the remaining stages differ",
    "rewards": "completions are rewarded differently",
    "prompts": "the prompts and their order differ",
    "prompts_digest": "the prompts differ",
}
# Fields that are not compared. Most concern only output, logging, pushes or the machine. Changes of the geometry are
# refused elsewhere, and the blocks of the loop are compared as the parts that they describe.
_FREE = re.compile(
    "output_dir|overwrite_output_dir|run_name|project|report_to|disable_tqdm|remove_unused_columns|logging_.*|log_.*"
    "|save_.*|eval_.*|.*_eval|per_device_eval.*|do_.*|load_best.*|metric_for.*|greater_is.*"
    "|push_.*|hub_.*|trackio_.*|wandb_.*|num_completions_to_print"
    "|resume_.*|enable_jit_checkpoint|dataloader_.*|ddp_.*|vllm_server_.*|vllm_group_port|use_cpu|local_rank"
    "|torch_compile.*|gradient_checkpointing.*|model_init_kwargs|skip_memory_metrics|include_.*|debug|tpu_.*|deepspeed"
    "|fsdp.*|accelerator_config|parallelism_config|per_device_train_batch_size|gradient_accumulation_steps"
    "|steps_per_generation|num_generations|generation_batch_size|num_iterations|method|goal_k"
    "|entropy_schedule|entropy_controller|entropy_actuator|curriculum"
)


def describe_run(
    args: ESGRPOConfig,
    loop: EntropyLoop | None,
    planned: Sequence[PlannedStage] | None,
    data: tuple[int | None, str],
    rewards: list[str],
) -> dict[str, Any]:
    """
    Describe a run for its checkpoints.

    Args:
        args (`ESGRPOConfig`):
            Configuration of the run.
        loop (`EntropyLoop`, *optional*):
            Its control loop.
        planned (`Sequence[PlannedStage]`, *optional*):
            Its stages.
        data (`(int, str)`):
            Number of rows of the training data (`None` for a stream), and the digest of its prompts.
        rewards (`list[str]`):
            Names of its reward functions.

    Returns:
        `dict[str, Any]`: the description, in JSON values.
    """
    names = [each.name for each in fields(args) if not _FREE.fullmatch(each.name)]
    described: dict[str, Any] = {name: getattr(args, name) for name in names}
    if loop is not None:
        parts = loop.describe()
        described |= {name: parts[name] for name in ("schedule", "controller", "actuators")}
    if planned is not None:
        described["stages"] = [asdict(stage) for stage in planned]
    described |= {"rewards": rewards, "prompts": data[0], "prompts_digest": data[1]}
    return json.loads(json.dumps(_plain(described), default=_text))  # the same values as after reading a checkpoint


def prompts_digest(dataset: Any, most: int = 100) -> str:
    """Return a digest of up to `most` prompts, spread evenly over a dataset. For a stream it is empty."""
    if not hasattr(dataset, "__len__") or "prompt" not in dataset.column_names or len(dataset) == 0:
        return ""
    places = sorted({place * len(dataset) // most for place in range(most)})
    prompts = dataset.select_columns("prompt").select(places)["prompt"][:]
    return hashlib.sha256(json.dumps(prompts, default=_text).encode()).hexdigest()[:16]


def _plain(value: Any) -> Any:
    """Return a value whose mappings have only strings as keys, as JSON requires."""
    if isinstance(value, dict):
        return {str(name): _plain(part) for name, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, list | tuple) else value


def check_changes(
    before: dict[str, Any], now: dict[str, Any], targets: tuple[float | None, float | None], allowed: bool
) -> list[str]:
    """
    List the differences of two runs.

    Args:
        before (`dict[str, Any]`):
            The run that wrote the checkpoint, as [`describe_run`] returns it.
        now (`dict[str, Any]`):
            The run that resumes.
        targets (`(float, float)`):
            Target of the next rollout in both runs, in nats; `None` without a schedule.
        allowed (`bool`):
            Whether these targets may differ.

    Returns:
        `list[str]`: one sentence per difference, with its effect.

    Raises:
        ValueError: if the targets differ and `allowed` is false.
    """
    names = [name for name in {**now, **before} if before.get(name) != now.get(name)]
    changes = [
        f"{name} was {before.get(name)} and is {now.get(name)}: {_MEANINGS.get(name, _OTHER)}"
        for name in names
        if name != "prompts_digest" or "prompts" not in names
    ]
    old, new = targets
    is_same = old == new or (None not in targets and abs(old - new) <= 1e-9)
    if not is_same and not allowed:
        blamed = [name for name in ("schedule", "max_steps", "num_train_epochs", "prompts") if name in names]
        because = "; ".join(f"{name} was {before.get(name)} and is {now.get(name)}" for name in blamed)
        old, new = ("none" if target is None else f"{target:.4g}" for target in targets)
        raise ValueError(
            f"the target of the next rollout would jump from {old} to {new} ({because}): resume with the values that "
            "the checkpoint was written with, or set resume_with_changes: true to use the new ones"
        )
    return changes


def _text(value: Any) -> Any:
    """Return a value as JSON has it. The memory address in a `repr` is removed, as it differs from run to run."""
    return value.item() if hasattr(value, "item") else re.sub(r" at 0x[0-9a-f]+", "", str(value))
