"""What short runs on the lab have in common, in this folder and in tests_vllm."""

# 4 prompts x 4 rollouts, 4 updates a rollout; the lab's base, small enough to train in tests
LAB_ARGS = {
    "per_device_train_batch_size": 4,
    "gradient_accumulation_steps": 1,
    "steps_per_generation": 4,
    "num_generations": 4,
    "max_completion_length": 12,
    "max_steps": 8,
    "learning_rate": 1e-3,
    "epsilon_high": 0.28,
    "top_k": 0,
    "logging_steps": 1,
    "save_strategy": "no",
    "report_to": "none",
    "use_cpu": True,
    "bf16": False,
    "gradient_checkpointing": False,
    "disable_tqdm": True,
    "seed": 3,
}
BONUS = {
    "entropy_schedule": {"kind": "constant", "target": 0.5},
    "entropy_controller": {"kind": "pid", "kp": 1.0, "ki": 0.1},
    "entropy_actuator": {"kind": "entropy_bonus", "low": -0.5, "high": 0.5},
}


def without_seconds(records):
    """History records without the only field that differs between equal runs."""
    return [{name: value for name, value in record.items() if name != "seconds"} for record in records]


def without_times(lines):
    """Lines of the log without what differs between equal runs."""
    differs = ("time", "seconds", "per_second")
    return [{name: v for name, v in line.items() if not any(word in name for word in differs)} for line in lines]
