"""The configuration of short runs on the lab."""

from typing import Any

from ..config.config import ESGRPOConfig


# 32 prompts x 8 completions, which takes half a second per rollout on one core
SHORT_RUN = {
    "num_generations": 8,
    "per_device_train_batch_size": 64,
    "gradient_accumulation_steps": 1,
    "steps_per_generation": 4,
    "max_completion_length": 16,
    "learning_rate": 2e-4,
    "lr_scheduler_type": "constant",
    "top_k": 0,
    "use_cpu": True,
    "bf16": False,
    "gradient_checkpointing": False,
    "logging_steps": 40,
    "save_strategy": "no",
    "report_to": "none",
}


def lab_config(output_dir: str, rollouts: int, **changes: Any) -> ESGRPOConfig:
    """
    Return an [`ESGRPOConfig`] for a short run on one CPU core.

    A rollout has 32 prompts x 8 completions and 4 updates.

    Args:
        output_dir (`str`):
            Folder of the run.
        rollouts (`int`):
            Number of rollouts in the run.
        changes (`dict[str, Any]`, *optional*):
            Other fields of the configuration. If `max_steps` is among them, it replaces `rollouts`.

    Returns:
        `ESGRPOConfig`: the configuration.
    """
    values = {**SHORT_RUN, **changes}
    updates = values["steps_per_generation"] // values["gradient_accumulation_steps"]
    return ESGRPOConfig(output_dir, **{"max_steps": rollouts * updates, **values})
