"""The configuration of short runs on the lab."""

from typing import Any

from ..config.config import ESGRPOConfig


# 32 prompts x 8 completions: half a second per rollout on one core
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
    Return an [`ESGRPOConfig`] for a short run on one CPU core: 32 prompts x 8 completions, 4 updates per rollout.

    Args:
        output_dir (`str`):
            Folder of the run.
        rollouts (`int`):
            Length of the run.
        changes (`dict[str, Any]`, *optional*):
            Any fields of the configuration; a `max_steps` among them replaces `rollouts`.
    """
    values = {**SHORT_RUN, **changes}
    updates = values["steps_per_generation"] // values["gradient_accumulation_steps"]
    return ESGRPOConfig(output_dir, **{"max_steps": rollouts * updates, **values})
