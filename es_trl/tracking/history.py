"""The history: one record a rollout, as a JSON line in `es_history.jsonl`, flushed as it happens."""

import json
import math
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import mean
from typing import Any

from ..common.writing import write_atomically, writing


HISTORY_FILE = "es_history.jsonl"
LOOP_FILE = "es_loop.json"
# fields that trackers get of a rollout when it is measured, as es/...
TRACKED = (
    "target",
    "entropy",
    "clamped_entropy",
    "entropy_se",
    "error",
    "control",
    "saturated",
    "curriculum_stage",
    "jump",
    "truncated",
)


@dataclass
class RolloutRecord:
    """
    One rollout. A field is `None` where it does not apply or is not known yet.

    Args:
        rollout (`int`):
            Index of the rollout in the run, from 0.
        run (`int`, *optional*):
            Number of the run in its folder, from 1 (`run_folder.py`).
        global_step (`int`):
            Updates made before this rollout.
        stage (`str`, *optional*):
            `"stable"` or `"anneal"`; `None` without a schedule.
        target (`float`, *optional*), entropy (`float`, *optional*), error (`float`, *optional*):
            Scheduled entropy, measured entropy, and target minus entropy, nats.
        entropy_se (`float`, *optional*):
            Standard error of the measured entropy, clustered by prompt, nats: the noise floor of the control.
        clamped_entropy (`float`, *optional*):
            Entropy over the top of the vocabulary, nats, where it is what is held: `error` is of it then.
        control (`float`, *optional*), settings (`dict[str, float]`, *optional*), saturated (`bool`, *optional*):
            What the controller decided, which trainer attributes it set, and whether the control is at a bound.
        actuator (`str`, *optional*), estimate (`dict[str, float]`, *optional*):
            Class of the actuator that the control moved, and what a self-tuned controller believes of the plant.
        events (`list[dict[str, str]]`, *optional*):
            What a person should know of this rollout: `kind` (`"hand_over"`, `"alarm"`, `"switch"`, `"guard"` or
            `"push"`) and `message`. Alarms and pushes are known to the process that writes the history alone.
        curriculum_stage (`int`, *optional*):
            Index of the stage of the curriculum; `None` without one.
        jump (`float`, *optional*):
            At the first rollout of a later stage: entropy on its prompts minus entropy of the rollout before, nats.
        sampling (`dict[str, float]`, *optional*):
            What dynamic sampling did and cost, the fields of [`SamplingCost`].
        reward (`float`, *optional*):
            Mean reward over all completions of the rollout.
        kept (`float`, *optional*):
            Share of the completions whose advantages were used, where an actuator filters them.
        clip_high_fraction (`float`, *optional*):
            Share of tokens whose ratio was cut at the upper clip bound, the mean over the rollout's micro-batches.
        truncated (`float`, *optional*):
            Share of tokens, or with `sequence_*` of completions, whose vLLM importance ratio was cut to a bound or
            masked; `None` without vLLM's correction.
        logp_difference (`float`, *optional*):
            Mean absolute difference between the log-probabilities that vLLM sampled with and the trainer's own, nats;
            `None` without vLLM's correction.
        num_generations (`int`), max_completion_length (`int`):
            Completions per prompt, and tokens that one may have.
        completion_tokens (`float`, *optional*):
            Mean length of a completion, tokens.
        seconds (`float`, *optional*):
            Wall-clock time from the first generation to the last backward pass.
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


_FIELDS = {field.name for field in fields(RolloutRecord)}
# fields that histories of earlier versions have not
_LATER = {"entropy_se", "actuator", "estimate", "events", "curriculum_stage", "jump", "sampling"}
_LATER |= {"clamped_entropy", "kept", "truncated", "logp_difference", "run"}


class History:
    """
    The records of a run, in memory on every process and in a file on the one that writes.

    Args:
        run_dir (`str` or `Path`):
            The run's `output_dir`.
        writes (`bool`):
            Whether this process writes the file.
    """

    def __init__(self, run_dir: str | Path, writes: bool):
        self.path = Path(run_dir) / HISTORY_FILE
        self.records: list[dict[str, Any]] = []
        self._writes = writes

    def begin(self, source: Path | None = None, keep: int = 0) -> None:
        """
        Start the history, where a run resumes with the first `keep` records of the file `source`.

        Only the process that writes takes the old records up: others need not see its disk.

        Raises:
            ValueError: where `source` has fewer records.
        """
        self.records = []
        if keep > 0 and self._writes:
            records = read_history(source) if source.exists() else []
            if len(records) < keep:
                raise ValueError(
                    f"the checkpoint is {keep} rollouts into its run and {source} holds {len(records)} of them: put "
                    f"the run's {HISTORY_FILE} into the checkpoint"
                )
            self.records = records[:keep]
        if self._writes:
            with writing(self.path, "the history"):
                self.path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self.path, "".join(_line(record) for record in self.records))

    def append(self, record: RolloutRecord) -> None:
        """Add a finished record, and write it through to the disk."""
        self.records.append({name: _finite_or_none(value) for name, value in asdict(record).items()})
        if self._writes:
            advice = "make room or mend the folder, and resume from the last whole checkpoint"
            with writing(self.path, "the history", advice), open(self.path, "a") as file:
                file.write(_line(self.records[-1]))
                file.flush()
                os.fsync(file.fileno())


def read_history(path: Path) -> list[dict[str, Any]]:
    """
    The records of a history file.

    Raises:
        ValueError: where a line is not a JSON object, unless it is a last line that was cut short.
    """
    lines = path.read_bytes().splitlines(keepends=True)
    if lines and not lines[-1].endswith(b"\n"):
        lines.pop()  # a process died while it wrote
    records = []
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
        except ValueError as error:  # a UnicodeDecodeError is one, too
            raise ValueError(f"line {number} of {path} is not a JSON object ({error}): restore the file") from error
        if not isinstance(record, dict) or not record.keys() >= _FIELDS - _LATER:
            raise ValueError(f"line {number} of {path} is no record of a rollout: restore the file")
        records.append(dict.fromkeys(_LATER) | record)
    return records


def summarize(records: list[dict[str, Any]], settling: int = 15, window: int = 10) -> str:
    """
    A run in a few lines: entropy, reward, and how far the entropy was from its target.

    Args:
        records (`list[dict]`):
            At least one record.
        settling (`int`):
            Rollouts at the start that the error of the stable stage leaves out.
        window (`int`):
            Rollouts over which the reward is averaged at both ends.
    """
    first, last = records[:window], records[-window:]
    lines = [f"rollouts                         {len(records)}"]
    if records[0]["entropy"] is not None and records[-1]["entropy"] is not None:
        lines.append(
            f"entropy, first and last rollout  {records[0]['entropy']:.3f} -> {records[-1]['entropy']:.3f} nats"
        )
    rewards = [[record["reward"] for record in part if record["reward"] is not None] for part in (first, last)]
    if all(rewards):
        lines.append(f"reward, first and last {window:<9} {mean(rewards[0]):.3f} -> {mean(rewards[1]):.3f}")
    for stage, part in (("stable", records[settling:]), ("anneal", records)):
        errors = [record["error"] for record in part if record["stage"] == stage]
        if errors:
            error = mean(e * e for e in errors) ** 0.5
            lines.append(f"rms error, {stage:<21} {error:.3f} nats over {len(errors)} rollouts")
    return "\n".join(lines)


def read_loop(run_dir: str | Path) -> dict[str, Any] | None:
    """What [`EntropyLoop.describe`] said of the run's loop; `None` where the run had none."""
    path = Path(run_dir) / LOOP_FILE
    if not path.exists():
        return None
    try:
        return json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}): restore the file, or remove it") from error


def write_loop(run_dir: str | Path, described: dict[str, Any] | None) -> None:
    """Write what [`EntropyLoop.describe`] says; `None` takes away what an earlier run in the same folder wrote."""
    path = Path(run_dir) / LOOP_FILE
    if described is None:
        with writing(path, path.name):
            path.unlink(missing_ok=True)
    else:
        write_atomically(path, json.dumps(described, indent=2) + "\n")


def _finite_or_none(value: Any) -> Any:
    """
    A value as JSON has it.

    JSON has no NaN: a reward that no function gave, or the entropy of a broken policy nobody controls, is null.
    NumPy's numbers, which a user's own schedule or controller may give, are Python's.
    """
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, dict):
        return {name: _finite_or_none(part) for name, part in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _line(record: dict[str, Any]) -> str:
    return json.dumps(record) + "\n"
