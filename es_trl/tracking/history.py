"""The history: one record per rollout, as a JSON line in `es_history.jsonl`, flushed as it happens."""

import json
import logging
import math
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, get_args, get_origin

from rich.table import Table

from ..common.shown import shown
from ..common.tables import as_text
from ..common.writing import append, write_atomically, writing
from ..control.alarms import AlarmRecords
from .outcome import SETTLING, WINDOW, outcome_of


logger = logging.getLogger(__name__)

HISTORY_FILE = "es_history.jsonl"
LOOP_FILE = "es_loop.json"
# fields that the histories of every version have; the others are `None` where a file lacks them
_REQUIRED = {
    *("rollout", "global_step", "stage", "target", "entropy", "error", "control", "settings", "saturated", "reward"),
    *("clip_high_fraction", "num_generations", "max_completion_length", "completion_tokens", "seconds"),
}


def _field(unit: str, text: str, tracked: str = "measured") -> Any:
    """
    Return a field that may be `None`, with its unit and its meaning, which the reference shows.

    Trackers get its numbers when the rollout is `measured` or `closed`, or never (`""`); see [`tracked`].
    """
    return field(default=None, metadata={"unit": unit, "help": text, "tracked": tracked})


@dataclass(frozen=True)
class RolloutRecord:
    """
    The record of one rollout. A field is `None` where it does not apply or is not known yet.

    The `help` of each field says what it means, and its `unit` what it counts in; the reference shows both.
    """

    rollout: int = field(metadata={"unit": "", "help": "Index of the rollout in the run, from 0.", "tracked": ""})
    global_step: int = field(metadata={"unit": "updates", "help": "Updates made before this rollout.", "tracked": ""})
    run: int | None = _field(
        "",
        "Number of the run in its `output_dir`, from 1. A run that starts afresh beside older checkpoints gets the "
        "next number.",
        tracked="",
    )
    stage: str | None = _field("", "Phase of the schedule: `stable`, or `anneal` from its onset on.")
    target: float | None = _field("nats", "Target entropy, from the schedule.")
    entropy: float | None = _field(
        "nats", "Measured entropy: mean over the tokens of all completions of all processes."
    )
    entropy_se: float | None = _field(
        "nats", "Standard error of `entropy`, clustered by prompt: the noise that no controller can remove."
    )
    clamped_entropy: float | None = _field(
        "nats", "Entropy over the top of the vocabulary, with `clamped_bonus`. Then `error` is measured from it."
    )
    error: float | None = _field("nats", "Target minus entropy.")
    control: float | None = _field("that of the actuator", "Output of the controller, for a bonus its coefficient.")
    settings: dict[str, float] | None = _field("", "Attributes of the trainer that the actuators set, by name.")
    saturated: bool | None = _field("", "Whether the control is at a bound.")
    actuator: str | None = _field("", "Class of the actuator that the control moved.")
    estimate: dict[str, float] | None = _field(
        "",
        "What the run has shown: filtered `entropy` (nats), `drift` (nats lost per rollout), `sensitivity` (nats per "
        "rollout and unit of control) with its standard deviation `sensitivity_sd`, and `positive`, the probability "
        "that more control means more entropy. With `self_tuned_pid` also the gains `kp`, `ki` and `kff`.",
    )
    events: list[dict[str, str]] | None = _field(
        "",
        "Events of the rollout, each with `kind` and `message`. Kinds: `hand_over`, `alarm`, `switch` (of the stage), "
        "`guard` (of `sample_filter`), `unmeasured`, `push` (a missed one), and those of your own callbacks.",
        tracked="closed",
    )
    update_entropies: list[float | None] | None = _field(
        "nats",
        "With `entropy_sensor: update`, the estimate of the present policy's entropy at each update; `null` where an "
        "update has no scored token. Trackers get the mean.",
        tracked="closed",
    )
    update_controls: list[float] | None = _field(
        "that of the actuator",
        "With `entropy_sensor: update`, the control decided after each update, for the next one. `control` is that of "
        "the first update. Trackers get the mean.",
        tracked="closed",
    )
    curriculum_stage: int | None = _field("", "Index of the stage of the curriculum, from 0.")
    jump: float | None = _field(
        "nats", "Entropy minus that of the rollout before, at the first rollout of a later stage."
    )
    sampling: dict[str, float] | None = _field(
        "",
        "Cost of dynamic sampling: `tries` (generations beside the rollout's own), `fresh_prompts`, `masked_prompts` "
        "(left out of the loss), `extra_tokens`, and `first_reward` (the mean before anything was replaced).",
    )
    early_exit: dict[str, float] | None = _field(
        "",
        "With `early_generations`: `prompts` (all that were tried), `left` (after their early completions), "
        "`left_tokens` (of these completions), and `saved_tokens` (of the completions that were not sampled, if these "
        "were as long as the early ones of the same prompt).",
    )
    reward: float | None = _field("", "Mean reward over all completions.")
    uniform_rewards: float | None = _field(
        "share", "Prompts whose completions all got the same reward, so that they teach nothing."
    )
    kept: float | None = _field("share", "Completions whose advantages were used, with `sample_filter`.", "closed")
    clip_high_fraction: float | None = _field(
        "share",
        "Tokens cut at the upper clip bound, mean over the micro-batches. Near 0 the clip has no authority.",
        tracked="closed",
    )
    cut_ratios: float | None = _field(
        "share",
        "Tokens, or with `sequence_*` completions, whose vLLM importance ratio was cut to a bound or masked.",
    )
    logp_difference: float | None = _field(
        "nats",
        "Mean absolute difference between the log-probabilities of vLLM and of the trainer. If it grows, the engine "
        "lags behind the policy.",
    )
    num_generations: int | None = _field("completions", "Completions per prompt.")
    max_completion_length: int | None = _field("tokens", "Tokens that a completion may have.")
    completion_tokens: float | None = _field("tokens", "Mean length of a completion.")
    truncated_completions: float | None = _field(
        "share", "Completions that were cut at `max_completion_length`, before their end."
    )
    seconds: float | None = _field(
        "seconds",
        "Wall-clock time from the first generation to the last backward pass, without evaluations in between.",
        tracked="closed",
    )


def _kinds(kind: Any) -> tuple[type, ...]:
    """Return the classes of the values that a field may have in a file; JSON writes some floats as whole numbers."""
    kinds = {get_origin(each) or each for each in get_args(kind) or (kind,)}
    return tuple(kinds | ({int} if float in kinds else set()))


_KINDS = {each.name: _kinds(each.type) for each in fields(RolloutRecord)}


class History:
    """The records of a run, in memory on every process, and in a file of `run_dir` on the one that writes."""

    def __init__(self, run_dir: str | Path, writes: bool) -> None:
        self.path = Path(run_dir) / HISTORY_FILE
        self.records: list[dict[str, Any]] = []
        self.for_alarms = AlarmRecords()
        self._writes = writes

    def begin(self, source: Path | None = None, keep: int = 0) -> None:
        """Start the history, with the first `keep` records of the file `source` where a run resumes."""
        self.records, self.for_alarms = [], AlarmRecords()
        if keep == 0 and self._writes and self.path.is_file() and self.path.stat().st_size > 0:
            logger.warning("%s holds an earlier run, which the new one replaces", self.path)
        if not self._writes:  # other processes need not see its disk
            return
        if keep > 0:
            records = read_history(source) if source.exists() else []
            if len(records) < keep:
                fault = f"the checkpoint is {keep} rollouts into its run and {source} holds {len(records)} of them"
                raise ValueError(f"{fault}: copy the run's {HISTORY_FILE} into the checkpoint")
            self.records = records[:keep]
            for record in self.records:
                self.for_alarms.add(record)
        with writing(self.path, "the history"):
            self.path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self.path, "".join(json.dumps(record) + "\n" for record in self.records))

    def append(self, record: RolloutRecord) -> None:
        """Add a finished record, and flush it to the disk."""
        self.records.append({name: finite_or_none(value) for name, value in asdict(record).items()})
        self.for_alarms.add(self.records[-1])
        if self._writes:
            advice = "make room or mend the folder, and resume from the last whole checkpoint"
            with writing(self.path, "the history", advice):
                append(self.path, f"{json.dumps(self.records[-1])}\n".encode())


def read_history(path: Path, only_told: bool = False) -> list[dict[str, Any]]:
    """
    Return the records of a history file.

    Args:
        path (`Path`):
            The file.
        only_told (`bool`, *optional*, defaults to `False`):
            Whether to read only the first record, the last one and those with events, which takes much less time.

    Raises:
        ValueError: for a line that is no record, unless it is cut at the end.
    """
    records = []
    # behind the last end of a line there is nothing, or what the process wrote when it died
    lines = path.read_bytes().split(b"\n")[:-1]
    for number, line in enumerate(lines, start=1):
        if only_told and 1 < number < len(lines) and b'"kind":' not in line:
            continue
        try:
            record = json.loads(line)
        except ValueError as error:  # UnicodeDecodeError included
            raise ValueError(f"line {number} of {path} is not a JSON object ({error}): restore the file") from error
        if not isinstance(record, dict) or not record.keys() >= _REQUIRED:
            raise ValueError(f"line {number} of {path} is not the record of a rollout: restore the file")
        record = {field.name: None for field in fields(RolloutRecord)} | record
        if (wrong := _wrong_field(record)) is not None:
            got = shown(record[wrong])
            raise ValueError(f"line {number} of {path} has {got} for `{wrong}`, which it cannot be: restore the file")
        records.append(record)
    return records


def _wrong_field(record: dict[str, Any]) -> str | None:
    """Return the name of a field whose value has another type than the field, or `None`."""
    for name, kinds in _KINDS.items():
        if not isinstance(record[name], kinds):
            return name
    mappings = ("settings", "estimate", "sampling", "early_exit")
    parts = [part for name in mappings for part in (record[name] or {}).values()]
    texts = all(isinstance(event, dict) and {"kind", "message"} <= event.keys() for event in record["events"] or [])
    numbers = all(part is None or isinstance(part, int | float) for part in parts)
    return None if texts and numbers else "settings" if texts else "events"


def summarize(records: list[dict[str, Any]], settling: int = SETTLING, window: int = WINDOW) -> str:
    """
    Return a run of at least one record in a few lines: entropy, reward, and root mean square error of the entropy.

    The error of the stable phase leaves out its first `settling` rollouts, and rewards are means over `window` rollouts
    (see [`outcome_of`]).
    """
    outcome = outcome_of(records, settling, window)
    table = Table.grid(padding=(0, 2))
    table.add_row("rollouts", str(outcome.rollouts))
    if outcome.entropy is not None:
        table.add_row("entropy, first and last rollout", "{:.3f} -> {:.3f} nats".format(*outcome.entropy))
    if outcome.reward is not None:
        table.add_row(f"reward, first and last {outcome.window}", "{:.3f} -> {:.3f}".format(*outcome.reward))
    for stage, error in outcome.errors.items():
        after = f", after the first {error.left_out}" if error.left_out else ""
        table.add_row(f"rms error, {stage}", f"{error.rms:.3f} nats over {error.rollouts} rollouts{after}")
    return as_text(table)


def read_loop(run_dir: str | Path) -> dict[str, Any] | None:
    """Return the description that [`write_loop`] wrote; `None` where the run has no loop."""
    path = Path(run_dir) / LOOP_FILE
    if not path.exists():
        return None
    try:
        loop = json.loads(path.read_bytes())
        if not isinstance(loop, dict) or not isinstance(loop.get("bounds", {}), dict):
            raise ValueError("it does not describe a loop")
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}): restore the file, or remove it") from error
    return loop


def write_loop(run_dir: str | Path, described: dict[str, Any] | None) -> None:
    """Write the description of an [`EntropyLoop`]; `None` removes that of an earlier run in the folder."""
    path = Path(run_dir) / LOOP_FILE
    if described is None:
        with writing(path, path.name):
            path.unlink(missing_ok=True)
    else:
        write_atomically(path, json.dumps(described, indent=2) + "\n")


def finite_or_none(value: Any) -> Any:
    """Return a value as JSON has it: NumPy's numbers, from a user's own schedule, as Python's, and NaN as `None`."""
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, dict):
        return {name: finite_or_none(part) for name, part in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
