"""Wherever TRL keeps a copy of a stage's sizes: what has to follow when a stage begins."""

from collections import defaultdict, deque
from collections.abc import Sequence
from typing import Any

from trl import GRPOTrainer
from trl.rewards import get_soft_overlong_punishment

from ..curriculum.planned import PlannedStage


def follow_stage(trainer: GRPOTrainer, stage: PlannedStage, punishes: bool) -> None:
    """
    Tell the trainer, its generation, its rewards and its logs the sizes of a stage; nothing is built anew.

    `punishes` says whether the last reward function is the soft overlong punishment of the stage before.
    """
    trainer.num_generations, trainer.max_completion_length = stage.num_generations, stage.max_completion_length
    if trainer.use_vllm:
        trainer.vllm_generation.max_completion_length = stage.max_completion_length
    elif "max_new_tokens" not in (trainer.args.generation_kwargs or {}):
        trainer.generation_config.max_new_tokens = stage.max_completion_length
        trainer.generation_kwargs["max_new_tokens"] = stage.max_completion_length
    if punishes:
        trainer.reward_funcs[-1] = get_soft_overlong_punishment(stage.max_completion_length, stage.overlong_cache)
    trainer._logs = _resized(trainer._logs, stage.completions)


def check_engine(vllm_generation: Any, planned: Sequence[PlannedStage]) -> None:
    """Raise unless the vLLM engine or server was built for completions as long as those of the longest stage."""
    if planned[0].max_completion_length is None:  # and so there is no other stage
        return
    longest = max(stage.max_completion_length for stage in planned)
    if vllm_generation.mode == "colocate":
        length = vllm_generation.llm.llm_engine.model_config.max_model_len
        knob = "vllm_max_model_length"
    elif vllm_generation.accelerator.is_main_process:  # which alone talks to the server
        length = vllm_generation.vllm_client.get_server_info()["model_config"]["max_model_len"]
        knob = "the server's --max-model-len"
    else:
        return
    if length <= longest:
        raise ValueError(
            f"{knob} must be above {longest}, the longest completion of a stage, got {length} for prompt and "
            f"completion together: set it to {longest} plus the longest prompt, for example {longest + 2048}"
        )


def _resized(logs: Any, size: int) -> Any:
    """Return TRL's logs of the latest rollout, with room for `size` completions."""
    if isinstance(logs, defaultdict):
        return defaultdict(lambda: deque(maxlen=size), {name: _resized(column, size) for name, column in logs.items()})
    if isinstance(logs, dict):
        return {name: _resized(column, size) for name, column in logs.items()}
    return deque(logs, maxlen=size)
