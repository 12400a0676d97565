"""Short runs with a switch of stages, for tests with vLLM."""

CONTROLLED = {
    "entropy_schedule": {"kind": "stable_anneal", "target": 0.6, "end": 0.3, "ratio": 0.5},
    "entropy_controller": {"kind": "pid", "kp": 1.0, "ki": 0.1},
    "entropy_actuator": {"kind": "entropy_bonus", "low": -0.5, "high": 0.5},
}
SWITCH = {"start": "onset", "data": "hard", "num_generations": 32, "max_completion_length": 16, "hold": "prompts"}
SHORT = {"num_generations": 8, "max_completion_length": 4, "max_steps": 16}  # 4 rollouts of 2 prompts
