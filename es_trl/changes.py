"""What differs between the run that wrote a checkpoint and the one that resumes it, and what that means."""

from dataclasses import asdict
from typing import Any

from .callbacks import Curriculum, EntropyScheduler
from .config import ESGRPOConfig
from .control import EntropyLoop
from .schedules import progress_at


_SAMPLING = "completions are sampled in another way, and entropy is not comparable with what came before"
_LOSS = "the updates from here on have another loss"
_LENGTH = "progress is counted over another length, and with it targets, stages and the decay of the learning rate"
_ORDER = "the prompts come in another order"
_KEPT = "the checkpoint's optimizer keeps the value that it has"

# fields of the configuration that a resumed run should have as they were, with what it means if not
_FIELDS: dict[str, str] = {
    **dict.fromkeys(("temperature", "top_p", "top_k", "min_p", "repetition_penalty", "generation_kwargs"), _SAMPLING),
    **dict.fromkeys(("loss_type", "epsilon", "epsilon_high", "delta", "beta", "num_iterations"), _LOSS),
    **dict.fromkeys(("importance_sampling_level", "scale_rewards", "reward_weights", "entropy_coef"), _LOSS),
    **dict.fromkeys(("mask_truncated_completions", "max_grad_norm", "entropy_bonus_scale"), _LOSS),
    **dict.fromkeys(("max_steps", "num_train_epochs"), _LENGTH),
    **dict.fromkeys(("learning_rate", "weight_decay", "optim"), _KEPT),
    **dict.fromkeys(("seed", "shuffle_dataset"), _ORDER),
    "lr_scheduler_type": "the learning rate follows another curve",
    "max_completion_length": "completions may have another length",
    "dynamic_sampling_tries": "other prompts are replaced",
    "overlong_cache": "long completions get another reward",
}
_PARTS: dict[str, str] = {
    "schedule": "the targets from here on are other ones",
    "controller": "the control reacts in another way",
    "actuators": "the control is moved into the new bounds",
    "stages": "the stages from here on are other ones",
    "prompts": "the prompts are other ones, in another order",
}


def describe_run(
    args: ESGRPOConfig, scheduler: EntropyScheduler | None, curriculum: Curriculum | None, prompts: int | None
) -> dict[str, Any]:
    """
    Describe a run for its checkpoints, as JSON values.

    Args:
        args (`ESGRPOConfig`):
            The configuration.
        scheduler (`EntropyScheduler`, *optional*), curriculum (`Curriculum`, *optional*):
            Where there are any, prepared.
        prompts (`int`, *optional*):
            Rows of the training data; `None` for a stream.
    """
    described: dict[str, Any] = {name: getattr(args, name) for name in _FIELDS if hasattr(args, name)}
    if scheduler is not None:
        loop = scheduler.loop.describe()
        described |= {name: loop[name] for name in ("schedule", "controller", "actuators")}
    if curriculum is not None:
        described["stages"] = [asdict(stage) for stage in curriculum.planned]
    return {**described, "prompts": prompts}


def target_at(loop: EntropyLoop | None, rollout: int, num_rollouts: int) -> float | None:
    """What the schedule says of a rollout, nats or multiples; `None` without a schedule."""
    if loop is None or loop.schedule is None:
        return None
    return loop.schedule(progress_at(rollout, num_rollouts))


def check_changes(
    before: dict[str, Any],
    now: dict[str, Any],
    targets: tuple[float | None, float | None],
    allowed: bool,
) -> list[str]:
    """
    List what differs, one sentence each.

    Args:
        before (`dict`), now (`dict`):
            What [`describe_run`] said of the run that wrote the checkpoint, and says of this one.
        targets (`(float, float)`):
            What the schedules of both say of the rollout that comes next.
        allowed (`bool`):
            Whether the user has said to go on although the target jumps.

    Raises:
        ValueError: where the targets differ and that is not allowed.
    """
    meanings = {**_FIELDS, **_PARTS}
    names = [name for name in meanings if before.get(name) != now.get(name)]
    changes = [f"{name} was {before.get(name)} and is {now.get(name)}: {meanings[name]}" for name in names]
    old, new = targets
    if old != new and not (old is not None and new is not None and abs(old - new) <= 1e-9) and not allowed:
        blamed = [name for name in ("schedule", "max_steps", "num_train_epochs", "prompts") if name in names]
        because = "; ".join(f"{name} was {before.get(name)} and is {now.get(name)}" for name in blamed)
        raise ValueError(
            f"the target of the next rollout would jump from {_nats(old)} to {_nats(new)} ({because}): resume with the "
            "values that the checkpoint was written with, or set resume_with_changes: true to go on with the new ones"
        )
    return changes


def _nats(target: float | None) -> str:
    return "none" if target is None else f"{target:.4g}"
