"""Sample completions of a run, with their rewards: `es_completions.jsonl`, one completion per line."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..common.writing import append, write_atomically, writing


COMPLETIONS_FILE = "es_completions.jsonl"
PROMPTS, PER_PROMPT = 4, 4  # of a rollout whose completions are kept
BETWEEN = 10  # rollouts between the first and the last one
LONGEST = 4_000  # characters of a text
_REQUIRED = {"rollout", "prompt", "chat", "completion", "rewards", "advantage", "tokens", "truncated"}


def is_sampled(rollout: int, rollouts: int) -> bool:
    """Return whether samples of a rollout are kept: the first, the last, and [`BETWEEN`] spread between them."""
    parts = BETWEEN + 1
    return rollout in {round(part * (rollouts - 1) / parts) for part in range(parts + 1)}


class Samples:
    """The sample completions of a run, in a file of `run_dir`, which one process writes."""

    def __init__(self, run_dir: str | Path, writes: bool) -> None:
        self.path = Path(run_dir) / COMPLETIONS_FILE
        self._writes = writes

    def begin(self, source: Path | None = None, keep: int = 0) -> None:
        """Start the file, with the samples of the first `keep` rollouts in `source` where a run resumes."""
        if not self._writes:
            return
        rows = read_completions(source) if source is not None and source.exists() else []
        with writing(self.path, "the sample completions"):
            self.path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self.path, _lines([row for row in rows if row["rollout"] < keep]))

    def append(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Add the samples of a rollout, and flush them to the disk."""
        if not self._writes:
            return
        with writing(self.path, "the sample completions"):
            append(self.path, _lines(rows).encode())


def samples_of(
    rollout: int, num_generations: int, columns: Mapping[str, Any], own: Sequence[tuple[int, bool]]
) -> list[dict[str, Any]]:
    """
    Return the samples of a rollout: up to 4 completions to each of its first 4 prompts.

    Args:
        rollout (`int`):
            Index of the rollout.
        num_generations (`int`):
            Completions per prompt.
        columns (`Mapping`):
            `prompt`, `completion` and `advantages` of all completions of the rollout, and `rewards` by the name of the
            reward function. TRL gathers them.
        own (`list[tuple[int, bool]]`):
            Tokens of the completions of this process, and whether they were cut at the limit. These completions come
            first. Both values are `None` for those of other processes.
    """
    chosen = [
        prompt * num_generations + each
        for prompt in range(min(PROMPTS, len(columns["prompt"]) // num_generations))
        for each in range(min(PER_PROMPT, num_generations))
    ]
    samples = []
    for row in chosen:
        prompt = columns["prompt"][row]
        tokens, is_truncated = own[row] if row < len(own) else (None, None)
        samples.append(
            {
                "rollout": rollout,
                "prompt": _cut(text_of(prompt)),
                "chat": not isinstance(prompt, str),
                "completion": _cut(text_of(columns["completion"][row])),
                "rewards": {name: _number(values[row]) for name, values in columns["rewards"].items()},
                "advantage": _number(columns["advantages"][row]),
                "tokens": tokens,
                "truncated": is_truncated,
            }
        )
    return samples


def text_of(value: Any) -> str:
    """Return a prompt or a completion as text: that of a chat has the role before each message, unless it has one."""
    if value is None or isinstance(value, str):
        return value or ""
    messages = [value] if isinstance(value, Mapping) else list(value)
    texts = [_message_text(message) for message in messages]
    if len(texts) == 1:
        return texts[0]
    return "\n\n".join(f"{message.get('role')}: {text}" for message, text in zip(messages, texts, strict=True))


def read_completions(path: Path) -> list[dict[str, Any]]:
    """
    Return the samples of a file, in the order of their rollouts.

    Raises:
        ValueError: for a line that is no sample, unless it is cut at the end.
    """
    rows = []
    for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], start=1):
        try:
            row = json.loads(line)
        except ValueError as error:
            raise ValueError(f"line {number} of {path} is not a JSON object ({error}): remove the file") from error
        if not isinstance(row, dict) or not row.keys() >= _REQUIRED:
            raise ValueError(f"line {number} of {path} is not a sample completion: remove the file")
        rows.append(row)
    return rows


def _message_text(message: Mapping[str, Any]) -> str:
    content = message.get("content")
    if isinstance(content, list | tuple):  # text, and images and other parts
        parts = [part if isinstance(part, Mapping) else {"text": str(part)} for part in content]
        content = "".join(part.get("text") or f"[{part.get('type')}]" for part in parts)
    calls = [f"[calls {json.dumps(call, default=str)}]" for call in message.get("tool_calls") or []]
    return "\n".join([*([str(content)] if content else []), *calls])


def _cut(text: str) -> str:
    """Return a text, without its middle if it is long: a completion ends with its answer."""
    left_out = len(text) - LONGEST
    half = LONGEST // 2
    return text if left_out <= 0 else f"{text[:half]}\n[... {left_out} characters are left out ...]\n{text[-half:]}"


def _number(value: float) -> float | None:
    return round(value, 6) if math.isfinite(value) else None


def _lines(rows: Sequence[Mapping[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)
