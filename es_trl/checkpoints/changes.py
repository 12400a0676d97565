"""What differs between the run that wrote a checkpoint and the one that resumes it, and what that means."""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Any

from ..config.config import ESGRPOConfig
from ..control.loop import EntropyLoop
from ..curriculum.planned import PlannedStage


_SAMPLING = "completions are sampled in another way, and entropy is not comparable with what came before"
_LENGTH = "progress is counted over another length, and with it targets, stages and the decay of the learning rate"
_ORDER = "the prompts come in another order"
_KEPT = "the checkpoint's optimizer keeps the value that it has"
_OTHER = "the run from here on is another one than without the change"
_RATE = "the learning rate follows another curve"

_MEANINGS: dict[str, str] = {
    **dict.fromkeys(("temperature", "top_p", "top_k", "min_p", "repetition_penalty", "generation_kwargs"), _SAMPLING),
    **dict.fromkeys(("max_steps", "num_train_epochs"), _LENGTH),
    **dict.fromkeys(("learning_rate", "weight_decay", "adam_beta1", "adam_beta2", "adam_epsilon", "optim"), _KEPT),
    **dict.fromkeys(("seed", "data_seed", "shuffle_dataset"), _ORDER),
    **dict.fromkeys(("lr_scheduler_type", "lr_scheduler_kwargs", "warmup_steps"), _RATE),
    "schedule": "the targets from here on are other ones",
    "controller": "the control reacts in another way",
    "actuators": "the control is moved into the new bounds",
    "stages": "the stages from here on are other ones",
    "rewards": "completions are rewarded in another way",
    "prompts": "the prompts are other ones, in another order",
    "prompts_digest": "the prompts are other ones",
}
# fields that a resumed run may change without a word: what is written, said and pushed, and where it runs; the geometry
# is refused elsewhere, and the loop's own blocks are compared as the parts that they make
_FREE = re.compile(
    "output_dir|overwrite_output_dir|run_name|project|report_to|disable_tqdm|remove_unused_columns|logging_.*|log_.*"
    "|save_.*|eval_.*|.*_eval|per_device_eval.*|do_.*|load_best.*|metric_for.*|greater_is.*"
    "|push_.*|hub_.*|trackio_.*|wandb_.*|num_completions_to_print"
    "|resume_.*|enable_jit_checkpoint|dataloader_.*|ddp_.*|vllm_server_.*|vllm_group_port|use_cpu|local_rank"
    "|torch_compile.*|gradient_checkpointing.*|model_init_kwargs|skip_memory_metrics|include_.*|debug|tpu_.*|deepspeed"
    "|fsdp.*|accelerator_config|parallelism_config|per_device_train_batch_size|gradient_accumulation_steps"
    "|steps_per_generation|num_generations|generation_batch_size|num_iterations|method|entropy_schedule"
    "|entropy_controller|entropy_actuator|curriculum"
)


def describe_run(
    args: ESGRPOConfig,
    loop: EntropyLoop | None,
    planned: Sequence[PlannedStage] | None,
    data: tuple[int | None, str],
    rewards: list[str],
) -> dict[str, Any]:
    """
    Describe a run for its checkpoints, as JSON values.

    Args:
        data (`(int, str)`):
            Rows of the training data, `None` for a stream, and a digest of its prompts.
    """
    names = [each.name for each in fields(args) if not _FREE.fullmatch(each.name)]
    described: dict[str, Any] = {name: getattr(args, name) for name in names}
    if loop is not None:
        parts = loop.describe()
        described |= {name: parts[name] for name in ("schedule", "controller", "actuators")}
    if planned is not None:
        described["stages"] = [asdict(stage) for stage in planned]
    described |= {"rewards": rewards, "prompts": data[0], "prompts_digest": data[1]}
    return json.loads(json.dumps(_plain(described), default=_text))  # as a checkpoint gives it back


def prompts_digest(dataset: Any, most: int = 100) -> str:
    """Return a digest of up to `most` prompts that are spread over a data set; empty for a stream."""
    if not hasattr(dataset, "__len__") or "prompt" not in dataset.column_names or len(dataset) == 0:
        return ""
    places = sorted({place * len(dataset) // most for place in range(most)})
    prompts = dataset.select_columns("prompt").select(places)["prompt"][:]
    return hashlib.sha256(json.dumps(prompts, default=_text).encode()).hexdigest()[:16]


def _plain(value: Any) -> Any:
    """Return a value whose mappings have text for keys, as JSON needs."""
    if isinstance(value, dict):
        return {str(name): _plain(part) for name, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, list | tuple) else value


def check_changes(
    before: dict[str, Any], now: dict[str, Any], targets: tuple[float | None, float | None], allowed: bool
) -> list[str]:
    """
    List the differences of two runs, as [`describe_run`] has them, one sentence each.

    Raises:
        ValueError: where their `targets` of the next rollout differ, unless that is `allowed`.
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
            "the checkpoint was written with, or set resume_with_changes: true to go on with the new ones"
        )
    return changes


def _text(value: Any) -> Any:
    """Return what JSON has of a value, without its place in memory, which differs from run to run."""
    return value.item() if hasattr(value, "item") else re.sub(r" at 0x[0-9a-f]+", "", str(value))
