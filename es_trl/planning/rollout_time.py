"""Seconds of a rollout, from operations and bytes and two assumed efficiencies. Estimates: `docs/memory.md`."""

from dataclasses import dataclass

from .gpus import GPU
from .memory import GiB, Training, cache_token_bytes, cache_tokens, engine_bytes


# What of the data sheet's numbers is reached: assumptions
FLOPS_EFFICIENCY, BANDWIDTH_EFFICIENCY = 0.4, 0.6
# Prompts and completions are taken to be half as long as the longest, on average
MEAN_LENGTH = 0.5


@dataclass(frozen=True)
class RolloutTime:
    """
    Seconds of one rollout.

    Args:
        generation (`float`, *optional*):
            Writing the completions; `None` where another machine does.
        scoring (`float`):
            Log-probabilities before the first update, of the policy and of a reference model.
        updates (`float`):
            Forward and backward passes of all updates.
    """

    generation: float | None
    scoring: float
    updates: float

    @property
    def total(self) -> float:
        """All of it, as far as it is known."""
        return (self.generation or 0.0) + self.scoring + self.updates


def rollout_time(training: Training, gpu: GPU, scoring_passes: int, iterations: int) -> RolloutTime:
    """
    Seconds of a rollout.

    Args:
        training (`Training`):
            What each GPU does.
        gpu (`GPU`):
            What it does it on.
        scoring_passes (`int`):
            Passes without gradient over the rollout: of the policy, and of a reference model.
        iterations (`int`):
            Times that each completion is trained on.
    """
    t, speed = training, FLOPS_EFFICIENCY * gpu.flops
    # TRL pads a pass to the longest completion of the rollout, of which one is as long as it may be
    length = MEAN_LENGTH * t.prompt + t.completion
    forward = t.sequences * length * _forward_flops(t, length)
    # of a frozen model the gradients of weights are not computed; checkpointing adds a forward pass
    times = (3 if t.adapter is None else 2) + (1 if t.checkpointing else 0)
    return RolloutTime(
        generation=generation_time(t, gpu),
        scoring=scoring_passes * forward / speed,
        updates=iterations * times * forward / speed,
    )


def generation_time(training: Training, gpu: GPU) -> float | None:
    """
    Seconds of writing the completions of a rollout, or `None` where a server writes them.

    A step adds a token to each sequence of a batch. It reads the weights and the batch's cache, or computes, whatever
    takes longer; and the longest completion has as many steps as tokens.
    """
    t = training
    if not t.generates:
        return None
    prompt, completion = MEAN_LENGTH * t.prompt, MEAN_LENGTH * t.completion
    resident = prompt + completion / 2  # tokens of a sequence in the cache, while it is written
    if t.engine is None:
        gpus, sequences, batch = 1, t.sequences, float(t.sequences)
        weights, token = t.shape.parameters * t.compute_bytes, t.shape.kv_bytes * t.compute_bytes / 2
    else:
        gpus = t.engine.tensor_parallel
        sequences = t.sequences * gpus
        fits = cache_tokens(t, gpu.memory * GiB) / resident
        batch = max(1.0, min(sequences, t.engine.max_sequences, fits))
        weights, token = engine_bytes(t)[0], cache_token_bytes(t)
    speed = FLOPS_EFFICIENCY * gpu.flops * gpus
    reading = (weights + batch * resident * token) / (BANDWIDTH_EFFICIENCY * gpu.bandwidth)
    computing = batch * _forward_flops(t, resident) / speed
    steps = max(t.completion, sequences * completion / batch)
    return steps * max(reading, computing) + sequences * prompt * _forward_flops(t, prompt) / speed


def _forward_flops(t: Training, length: float) -> float:
    """Operations for a token of a forward pass: two for each parameter, and its attention to `length` others."""
    return 2 * t.shape.parameters + 4 * t.shape.layers * t.shape.attention * length
