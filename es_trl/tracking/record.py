"""The record of a rollout: every field of the history."""

from dataclasses import dataclass


@dataclass
class RolloutRecord:
    """
    One rollout. A field is `None` where it does not apply or is not known yet.

    Args:
        rollout (`int`): Index of the rollout in the run, from 0.
        global_step (`int`): Updates made before this rollout.
        run (`int`): Number of the run in its folder, from 1.
        stage (`str`): Phase of the schedule, `"stable"` or `"anneal"`.
        target (`float`): Scheduled entropy, nats.
        entropy (`float`): Measured entropy, nats.
        entropy_se (`float`): Standard error of `entropy`, clustered by prompt, nats: the noise floor of the control.
        clamped_entropy (`float`): Entropy over the top of the vocabulary, nats, where `error` is computed from it.
        error (`float`): Target minus entropy, nats.
        control (`float`): Output of the controller, in the unit of its actuator.
        settings (`dict[str, float]`): Trainer attributes that the actuator set, by name.
        saturated (`bool`): Whether the control is at a bound.
        actuator (`str`): Class of the actuator that the control moved.
        estimate (`dict[str, float]`): Estimate of the plant by a self-tuned controller.
        events (`list[dict[str, str]]`): Each has a `kind` (`"hand_over"`, `"alarm"`, `"switch"`, `"guard"` or `"push"`)
            and a `message`. Only the process that writes the history knows alarms and pushes.
        curriculum_stage (`int`): Index of the stage of the curriculum, from 0.
        jump (`float`): Entropy minus that of the rollout before, nats, at the first rollout of a later stage.
        sampling (`dict[str, float]`): Fields of [`SamplingCost`], with dynamic sampling.
        reward (`float`): Mean reward over all completions of the rollout.
        kept (`float`): Share of the completions whose advantages were used, where an actuator filters them.
        clip_high_fraction (`float`): Share of tokens whose ratio was cut at the upper clip bound, the mean over the
            micro-batches of the rollout.
        truncated (`float`): Share of tokens, or with `sequence_*` of completions, whose vLLM importance ratio was cut
            to a bound or masked; only with vLLM's correction.
        logp_difference (`float`): Mean absolute difference between the log-probabilities of vLLM and of the trainer,
            nats; only with vLLM's correction.
        num_generations (`int`): Completions per prompt.
        max_completion_length (`int`): Tokens that a completion may have.
        completion_tokens (`float`): Mean length of a completion, tokens.
        seconds (`float`): Wall-clock time from the first generation to the last backward pass.
    """

    rollout: int
    global_step: int
    run: int | None = None
    stage: str | None = None
    target: float | None = None
    entropy: float | None = None
    entropy_se: float | None = None
    clamped_entropy: float | None = None
    error: float | None = None
    control: float | None = None
    settings: dict[str, float] | None = None
    saturated: bool | None = None
    actuator: str | None = None
    estimate: dict[str, float] | None = None
    events: list[dict[str, str]] | None = None
    curriculum_stage: int | None = None
    jump: float | None = None
    sampling: dict[str, float] | None = None
    reward: float | None = None
    kept: float | None = None
    clip_high_fraction: float | None = None
    truncated: float | None = None
    logp_difference: float | None = None
    num_generations: int | None = None
    max_completion_length: int | None = None
    completion_tokens: float | None = None
    seconds: float | None = None
