"""The switch to a stage: its sizes are written to every place where TRL keeps a copy of them."""

from collections import defaultdict, deque
from collections.abc import Sequence
from typing import Any

from trl import GRPOTrainer
from trl.rewards import get_soft_overlong_punishment

from ..curriculum.planned import PlannedStage
from .temperature import sample_at


def follow_stage(trainer: GRPOTrainer, stage: PlannedStage, punishes: bool) -> None:
    """
    Set the sizes of a stage in the trainer, its generation, its rewards and its logs.

    Args:
        trainer (`GRPOTrainer`):
            The trainer, which is changed in place.
        stage (`PlannedStage`):
            The stage that begins.
        punishes (`bool`):
            Whether the last reward function is the soft overlong punishment, which is replaced.
    """
    sample_at(trainer, stage.temperature)
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
    """Raise unless the vLLM engine or server has room for the longest completion of any stage."""
    if planned[0].max_completion_length is None:  # then the run has only one stage
        return
    longest = max(stage.max_completion_length for stage in planned)
    if vllm_generation.mode == "colocate":
        length = vllm_generation.llm.llm_engine.model_config.max_model_len
        knob = "vllm_max_model_length"
    elif vllm_generation.accelerator.is_main_process:  # only this process has a connection to the server
        length = vllm_generation.vllm_client.get_server_info()["model_config"]["max_model_len"]
        knob = "the server's --max-model-len"
    else:
        return
    if length <= longest:
        raise ValueError(
            f"{knob} must be above {longest}, the longest completion of a stage, because it counts prompt and "
            f"completion, got {length} tokens: set it to {longest} plus the longest prompt, for example "
            f"{longest + 2048}"
        )


def _resized(logs: Any, size: int) -> Any:
    """Return a copy of TRL's completion logs that holds up to `size` completions."""
    if isinstance(logs, defaultdict):
        return defaultdict(lambda: deque(maxlen=size), {name: _resized(column, size) for name, column in logs.items()})
    if isinstance(logs, dict):
        return {name: _resized(column, size) for name, column in logs.items()}
    return deque(logs, maxlen=size)
