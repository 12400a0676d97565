"""The run in two sentences, and its outcome in numbers."""

import re
from statistics import median

from ..common.shown import duration
from ..tracking.outcome import Error
from .run import Run


def plain(part: str) -> str:
    """Return the class of a part of the loop in plain words: `entropy bonus` for `EntropyBonusActuator(low=-1.0)`."""
    name = re.sub(r"(Controller|Actuator)$", "", part.partition("(")[0]) or part
    words = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name).split()
    return " ".join(word if word.isupper() else word.lower() for word in words)


def sentences(run: Run) -> list[str]:
    """Return what was trained, and to what entropy was controlled."""
    last, rollouts = run.records[-1], len(run.records)
    count = f"{rollouts} rollouts" if rollouts > 1 else "1 rollout"
    if run.planned is not None and run.planned > rollouts:
        count = f"{rollouts} of {run.planned} planned rollouts"
    size = f", {last['num_generations']} completions per prompt" if last["num_generations"] else ""
    if run.setup is not None:
        geometry = run.setup.geometry
        size = f" of {geometry.prompts} prompts × {geometry.num_generations} completions"
    by = f", rewarded by {' and '.join(run.setup.rewards)}" if run.setup is not None and run.setup.rewards else ""
    what = "The model" if run.model is None else str(run.model)
    return [f"{what} was trained with {_method(run)} for {count}{size}{by}.", _control(run), *_result(run)]


def _method(run: Run) -> str:
    named = (run.loop or {}).get("method")
    return "GRPO" if named is None else f"GRPO and the method {named}"


def _control(run: Run) -> str:
    if run.loop is None:
        return "Its entropy was measured in every rollout and not controlled."
    actuators = ", then the ".join(plain(part) for part in run.loop.get("actuators", []))
    moved = f"the {actuators}" if actuators else "nothing"
    means = f"The controller ({plain(run.loop.get('controller', 'unknown'))}) moved {moved}"
    targets = [record["target"] for record in run.records if record["target"] is not None]
    if not targets:
        return f"Its entropy was measured and had no target. {means}."
    return f"Its target entropy was {_aim(run, targets)}. {means}."


def _aim(run: Run, targets: list[float]) -> str:
    first, last, least, most = (f"{value:.3g}" for value in (targets[0], targets[-1], min(targets), max(targets)))
    stable = [
        record["target"] for record in run.records if record["target"] is not None and record["stage"] == "stable"
    ]
    if least == most:
        return f"{first} nats"
    if run.onset is not None and stable and f"{min(stable):.3g}" == f"{max(stable):.3g}":
        return f"{first} nats up to rollout {run.onset}, and then went to {last} nats"
    return f"a schedule from {first} to {last} nats (between {least} and {most})"


def _result(run: Run) -> list[str]:
    """Return how far entropy was from its target, and how often the control could do no more."""
    errors = run.outcome.errors
    far = [f"{error.rms:.3f} nats in the {stage} phase{_times(error)}" for stage, error in errors.items()]
    if not far:
        return []
    stuck = sum(bool(record["saturated"]) for record in run.records)
    bound = f" The control was at a bound in {stuck} of {len(run.records)} rollouts." if stuck else ""
    return [f"Entropy was off its target by {' and '.join(far)}.{bound}"]


def _times(error: Error) -> str:
    return "" if not error.noise else f" ({error.rms / error.noise:.1f} times the noise of one rollout)"


def tiles(run: Run) -> list[tuple[str, str, str]]:
    """Return the outcome: for each number its name, its value, and what it means."""
    outcome, found = run.outcome, []
    if outcome.entropy is not None:
        first, last = outcome.entropy
        found.append(("Entropy", f"{first:.3f} → {last:.3f} nats", "first → last rollout"))
    for stage, error in outcome.errors.items():
        found.append((f"Error, {stage} phase", f"{error.rms:.3f} nats", _noise(error)))
    if outcome.reward is not None:
        first, last = outcome.reward
        found.append(("Reward", f"{first:.3f} → {last:.3f}", f"means of the first and last {outcome.window} rollouts"))
    if run.loop is not None:
        found.append(("Alarms", str(outcome.alarms), "see the events" if outcome.alarms else "nothing to report"))
    if outcome.seconds is not None:
        each = median(record["seconds"] for record in run.records if record["seconds"] is not None)
        started = "" if run.setup is None else f"; started {run.setup.started[:16].replace('T', ' ')} UTC"
        found.append(("Time", duration(outcome.seconds), f"{duration(each)} per rollout{started}"))
    return found


def _noise(error: Error) -> str:
    which = f"after the first {error.left_out}" if error.left_out else "all of the phase"
    rollouts = f"rms over {error.rollouts} rollouts, {which}"
    return rollouts if error.noise is None else f"{rollouts}; one rollout's noise: {error.noise:.3f}"
