"""Wherever TRL keeps a copy of a stage's sizes: what has to follow when a stage begins."""

from collections import defaultdict, deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..curriculum.stages import PlannedStage
from ..rewards.overlong import SoftOverlongPunishment


if TYPE_CHECKING:
    from .trainer import ESGRPOTrainer


def follow_stage(trainer: "ESGRPOTrainer", stage: PlannedStage) -> None:
    """Tell the trainer, its generation, its rewards and its logs the sizes of a stage; nothing is built anew."""
    trainer.num_generations, trainer.max_completion_length = stage.num_generations, stage.max_completion_length
    if trainer.use_vllm:
        trainer.vllm_generation.max_completion_length = stage.max_completion_length
    elif "max_new_tokens" not in (trainer.args.generation_kwargs or {}):
        trainer.generation_config.max_new_tokens = stage.max_completion_length
        trainer.generation_kwargs["max_new_tokens"] = stage.max_completion_length
    tell_length(trainer.reward_funcs, stage.max_completion_length)
    if trainer.overlong_punishment is not None:
        trainer.overlong_punishment.cache = stage.overlong_cache
    trainer._logs = _resized(trainer._logs, stage.completions)


def tell_length(reward_funcs: Sequence[Any], max_completion_length: int | None) -> None:
    """Tell the rewards that punish long completions how long they may be."""
    for reward in reward_funcs:
        if isinstance(reward, SoftOverlongPunishment):
            reward.max_completion_length = max_completion_length


def check_engine(vllm_generation: Any, planned: Sequence[PlannedStage]) -> None:
    """
    Refuse a vLLM engine or server that was built for shorter completions than those of the longest stage.

    Raises:
        ValueError: where prompt and completion would not fit.
    """
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
            f"vLLM was built for {length} tokens of prompt and completion together, and the longest stage has "
            f"completions of {longest}: set {knob} to {longest} plus the longest prompt, for example {longest + 2048}"
        )


def _resized(logs: Any, size: int) -> Any:
    """TRL's logs of the latest rollout, with room for `size` completions."""
    if isinstance(logs, defaultdict):
        return defaultdict(lambda: deque(maxlen=size), {name: _resized(column, size) for name, column in logs.items()})
    if isinstance(logs, dict):
        return {name: _resized(column, size) for name, column in logs.items()}
    return deque(logs, maxlen=size)
