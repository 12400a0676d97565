"""The record of a rollout: every field of the history."""

from dataclasses import dataclass


@dataclass
class RolloutRecord:
    """One rollout. A field is `None` where it does not apply or is not known yet."""

    rollout: int  # index of the rollout in the run, from 0
    global_step: int  # updates made before this rollout
    run: int | None = None  # number of the run in its folder, from 1
    stage: str | None = None  # phase of the schedule, "stable" or "anneal"
    target: float | None = None  # scheduled entropy, nats
    entropy: float | None = None  # measured entropy, nats
    entropy_se: float | None = None  # standard error of `entropy`, clustered by prompt, nats: the control's noise floor
    clamped_entropy: float | None = None  # entropy over the top of the vocabulary, nats, where `error` comes from it
    error: float | None = None  # target minus entropy, nats
    control: float | None = None  # output of the controller, in the unit of its actuator
    settings: dict[str, float] | None = None  # trainer attributes that the actuator set, by name
    saturated: bool | None = None  # whether the control is at a bound
    actuator: str | None = None  # class of the actuator that the control moved
    estimate: dict[str, float] | None = None  # estimate of the plant by a self-tuned controller
    # each event has a `message` and a `kind`: "hand_over", "alarm", "switch", "guard" or "push"; only the process that
    # writes the history knows alarms and pushes
    events: list[dict[str, str]] | None = None
    curriculum_stage: int | None = None  # index of the stage of the curriculum, from 0
    jump: float | None = None  # entropy minus that of the rollout before, nats, at the first rollout of a later stage
    sampling: dict[str, float] | None = None  # fields of `SamplingCost`, with dynamic sampling
    reward: float | None = None  # mean reward over all completions of the rollout
    kept: float | None = None  # share of the completions whose advantages were used, where an actuator filters them
    clip_high_fraction: float | None = None  # share of tokens cut at the upper clip bound, mean over the micro-batches
    # with vLLM's correction: share of tokens, or with `sequence_*` of completions, whose importance ratio was cut or
    # masked, and mean absolute difference between the log-probabilities of vLLM and of the trainer, nats
    truncated: float | None = None
    logp_difference: float | None = None
    num_generations: int | None = None  # completions per prompt
    max_completion_length: int | None = None  # tokens that a completion may have
    completion_tokens: float | None = None  # mean length of a completion, tokens
    seconds: float | None = None  # wall-clock time from the first generation to the last backward pass
