"""Alarms: messages about states of a run that a person should look at. Each alarm is a pure function of the history."""

import importlib
import logging
import math
from collections import deque
from collections.abc import Callable
from itertools import pairwise
from statistics import mean
from typing import Any


Records = list[dict[str, Any]]

PATIENCE = 10  # rollouts in a row that a state must last before it is an alarm
LONGEST = 15  # measured rollouts that the alarm with the longest memory looks at
COLLAPSE = 0.25  # entropy below this share of the target is an alarm
EXPLOSION = 2.0  # entropy above this multiple of the target, and of the first rollout's entropy, is an alarm
SEVERAL = 5  # rollouts in a row in which completions or rewards say nothing
TRUNCATED = 0.5  # share of the completions; with more, most rewards are those of answers that were not given
REVERSED = 0.005  # a lower probability that more control means more entropy is an alarm
IDLE_CLIP = 1e-4  # share of the tokens; a clip bound that fewer tokens reach moves nothing

logger = logging.getLogger(__name__)


class AlarmRecords:
    """
    The records that the alarms of a run look at: per stage, the first and the latest measured ones.

    Their number does not grow with the history, so neither does the time of the alarms.
    """

    def __init__(self) -> None:
        self._first: dict[int | None, dict[str, Any]] = {}
        self._latest: dict[int | None, deque[dict[str, Any]]] = {}

    def add(self, record: dict[str, Any]) -> None:
        """Add the record of a finished rollout."""
        if record["entropy"] is not None:
            stage = record["curriculum_stage"]
            self._first.setdefault(stage, record)
            self._latest.setdefault(stage, deque(maxlen=PATIENCE + LONGEST)).append(record)

    def of_stage(self, stage: int | None) -> Records:
        """Return the records of a stage that [`new_alarms`] needs before the present one."""
        latest = list(self._latest.get(stage, ()))
        return latest if not latest or latest[0] is self._first[stage] else [self._first[stage], *latest]


def new_alarms(records: Records, is_controlled: bool = True) -> list[str]:
    """
    Return the messages of the alarms that begin with the last rollout.

    Alarms of the entropy are only for runs that hold it to a target. The records are all of a run, or those that
    [`AlarmRecords`] keeps of them, and the present one behind. An alarm that was already on in one of the [`PATIENCE`]
    rollouts before is not repeated.
    """
    if records[-1]["entropy"] is None:
        return []
    # each stage has its own prompts, so entropies of different stages cannot be compared
    stage = records[-1]["curriculum_stage"]
    records = [record for record in records if record["curriculum_stage"] == stage and record["entropy"] is not None]
    # the history as it was at each earlier rollout, when that rollout was measured and not yet trained on
    lasts = range(max(len(records) - 1 - PATIENCE, 0), len(records) - 1)
    earlier = [[*records[:last], {**records[last], "clip_high_fraction": None}] for last in lasts]
    alarms = (*(ENTROPY_ALARMS if is_controlled else ()), *ROLLOUT_ALARMS)
    return [message for alarm in alarms if (message := alarm(records)) and not any(alarm(before) for before in earlier)]


def saturation(records: Records) -> str | None:
    """Return a message if the control was at one bound, and entropy on one side, for [`PATIENCE`] rollouts."""
    recent = records[-PATIENCE:]
    errors, controls = [record["error"] for record in recent], {record["control"] for record in recent}
    stuck = len(recent) == PATIENCE and len(controls) == 1 and all(record["saturated"] for record in recent)
    if not stuck or min(errors) <= 0.0 <= max(errors):
        return None
    other = "use an actuator that acts in every geometry (entropy_bonus)"
    if recent[-1]["actuator"] == "EntropyBonusActuator":
        other = "lower the learning_rate, so that entropy moves less by itself"
    return (
        f"the control has been at its bound {recent[-1]['control']:.3g} for {PATIENCE} rollouts and entropy is "
        f"{abs(mean(errors)):.3f} nats {'below' if errors[-1] > 0.0 else 'above'} its target. Widen the actuator's "
        f"bounds, move the target, or {other}"
    )


def reversed_effect(records: Records) -> str | None:
    """Return a message if more control means less entropy and the controller does not know it."""
    recent = [record["estimate"] for record in records[-SEVERAL:]]
    if len(recent) < SEVERAL or any(found is None or "kp" in found or found["positive"] > REVERSED for found in recent):
        return None
    last, actuator = recent[-1], records[-1]["actuator"]
    return (
        f"more control of {actuator} means less entropy in this run ({last['sensitivity']:.3g} +- "
        f"{last['sensitivity_sd']:.1g} nats per rollout and unit). The controller assumes the opposite and drives "
        "entropy away from its target: set entropy_controller: self_tuned_pid, which finds the sign, or another "
        "entropy_actuator"
    )


def divergence(records: Records) -> str | None:
    """Return a message if the error grew over three windows of five rollouts by more than its noise."""
    if len(records) < LONGEST:
        return None
    windows = [records[-15:-10], records[-10:-5], records[-5:]]
    errors = [mean(record["error"] for record in window) for window in windows]
    noise = 2.0 * mean(record["entropy_se"] or 0.0 for record in windows[-1]) / 5**0.5
    growth = [abs(late) - abs(early) for early, late in pairwise(errors)]
    if min(growth) <= noise or errors[0] * errors[-1] < 0.0:
        return None
    return (
        f"entropy is moving away from its target: the error grew from {errors[0]:+.3f} to {errors[-1]:+.3f} nats in 15 "
        "rollouts. Start a new run with a lower learning_rate, wider actuator bounds, or an actuator that acts here"
    )


def collapse(records: Records) -> str | None:
    """Return a message if entropy is below a quarter of its target."""
    last = records[-1]
    if last["entropy"] >= COLLAPSE * last["target"]:
        return None
    return (
        f"entropy has collapsed to {last['entropy']:.4f} nats with a target of {last['target']:.3f}. "
        "Start a new run from an earlier checkpoint (set model_name_or_path to it) with wider actuator bounds or a "
        "lower learning_rate"
    )


def explosion(records: Records) -> str | None:
    """Return a message if entropy is above twice its first value and above twice its target."""
    last, ceiling = records[-1], EXPLOSION * max(records[0]["entropy"], records[-1]["target"])
    if last["entropy"] <= ceiling:
        return None
    return (
        f"entropy has exploded to {last['entropy']:.3f} nats with a target of {last['target']:.3f}: read some of the "
        "completions. Start a new run from an earlier checkpoint (set model_name_or_path to it) with narrower actuator "
        "bounds or a lower learning_rate"
    )


def idle_clip(records: Records) -> str | None:
    """Return a message if the upper clip is the actuator and almost no token reached it."""
    done = [record for record in records[-PATIENCE - 1 :] if record["clip_high_fraction"] is not None][-PATIENCE:]
    if len(done) < PATIENCE or records[-1]["actuator"] != "ClipHighActuator":
        return None
    share = max(record["clip_high_fraction"] for record in done)
    if share >= IDLE_CLIP:
        return None
    return (
        f"at most {share:.1e} of the tokens reached the upper clip in each of {PATIENCE} rollouts, so the clip moves "
        "nothing: raise steps_per_generation for more updates per rollout, lower epsilon_high, or use entropy_bonus"
    )


def truncation(records: Records) -> str | None:
    """Return a message if most completions were cut at the limit in [`SEVERAL`] rollouts in a row."""
    shares = [record["truncated_completions"] for record in records[-SEVERAL:]]
    if len(shares) < SEVERAL or None in shares or min(shares) < TRUNCATED:
        return None
    return (
        f"{mean(shares):.0%} of the completions of {SEVERAL} rollouts were cut at max_completion_length "
        f"({records[-1]['max_completion_length']} tokens). A cut completion has no answer, so its reward says little: "
        "raise max_completion_length, or check that prompt_format fits the model, so that it ends its answers"
    )


def nothing_to_learn(records: Records) -> str | None:
    """Return a message if no prompt had completions with different rewards in [`SEVERAL`] rollouts in a row."""
    recent = records[-SEVERAL:]
    if len(recent) < SEVERAL or any(record["uniform_rewards"] != 1.0 for record in recent):
        return None
    reward = recent[-1]["reward"]
    mean_reward = "no reward at all" if reward is None or math.isnan(reward) else f"mean reward {reward:.3g}"
    return (
        f"all completions of a prompt had the same reward, for every prompt of {SEVERAL} rollouts, so nothing is "
        f"learned ({mean_reward}): check the reward function on some completions, or use "
        "prompts that the model answers right at times"
    )


Alarm = Callable[[Records], str | None]
ENTROPY_ALARMS: tuple[Alarm, ...] = (saturation, reversed_effect, divergence, collapse, explosion, idle_clip)
ROLLOUT_ALARMS: tuple[Alarm, ...] = (truncation, nothing_to_learn)


def send_alerts(rollout: int, alarms: list[dict[str, str]], trackers: list[str]) -> None:
    """Send the `message` of each alarm of a rollout to the trackers that have alerts."""
    for alarm in alarms:
        alert = {"title": "es_trl alarm", "text": f"rollout {rollout}: {alarm['message']}"}
        try:
            if "trackio" in trackers:
                importlib.import_module("trackio").alert(**alert)
            if "wandb" in trackers:
                importlib.import_module("wandb").run.alert(**alert)
        except Exception as error:  # a tracker may raise anything, and a failed alert must not end the run
            logger.warning("the alert could not be sent: %r", error)
