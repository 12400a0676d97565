"""Whether a checkpoint is whole: the list of its files, by which each is checked.

A save writes `es_state.json` when every process is done with its files, and `trainer_state.json` last. The former lists
size and SHA-256 of every file, and has digests of its own content and of the latter's.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.utils import gather_object
from transformers.trainer import TRAINER_STATE_NAME

from .lineage import Lineage


STATE_FILE = "es_state.json"
STATE_VERSION = 5


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint folder."""

    path: Path
    update: int  # as its name says
    lineage: Lineage | None  # `None` where its state cannot be read
    damage: str | None  # `None` where it is whole


def list_files(checkpoint: Path, accelerator: Accelerator) -> dict[str, list[Any]]:
    """Return size and SHA-256 of every file by its path in the checkpoint; every process reads a share of them."""
    names = sorted(str(path.relative_to(checkpoint)) for path in checkpoint.rglob("*") if path.is_file())
    own = names[accelerator.process_index :: accelerator.num_processes]
    return dict(gather_object([(name, _measure(checkpoint / name)) for name in own]))


def with_digest(content: dict[str, Any]) -> str:
    """Return the content of a state file as JSON, with its version and a digest by which damage is found."""
    content = json.loads(json.dumps({"version": STATE_VERSION, **content}))  # as it will be read
    return json.dumps({**content, "digest": _digest(content)}, indent=2)


def trainer_state_digest(content: dict[str, Any], exported: dict[str, Any]) -> str:
    """
    Return a digest of `trainer_state.json`, but for `stateful_callbacks`, which transformers fills in last.

    Their states by name are `exported`, without those of several of one name.
    """
    rest = {name: value for name, value in content.items() if name != "stateful_callbacks"}
    return _digest(json.loads(json.dumps([rest, exported])))


def read_state(checkpoint: Path) -> dict[str, Any]:
    """Read the content of a checkpoint's state file, or raise where it is missing, damaged, or of another version."""
    path = checkpoint / STATE_FILE
    if not path.exists():
        raise ValueError(
            f"{checkpoint} has no {STATE_FILE}, as of another trainer or with save_only_model: start a new run with "
            "the checkpoint as the model"
        )
    content = read_mapping(path)
    version = content.pop("version", None)
    if version != STATE_VERSION:
        found = f"{path} has version {version} and this es_trl reads version {STATE_VERSION}"
        raise ValueError(f"{found}: resume with the es_trl that wrote it")
    digest = content.pop("digest", None)
    if digest != _digest({"version": version, **content}):
        raise ValueError(f"{path} is damaged (its digest does not match): resume from another checkpoint")
    return content


def read_mapping(path: Path, advice: str = "resume from another checkpoint") -> dict[str, Any]:
    """Read a JSON object from a file, or raise with the advice where there is none."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is damaged ({_reason(error)}): {advice}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} is damaged (it holds no JSON object): {advice}")
    return content


def check(checkpoint: Path, measure: bool = True) -> Checkpoint:
    """Check a checkpoint against its own list of files; `measure` reads them all."""
    number = checkpoint.name.rpartition("-")[2]
    update, lineage = int(number) if number.isdecimal() else -1, None
    try:
        if not (checkpoint / TRAINER_STATE_NAME).exists():
            reason = "so its save was cut short" if (checkpoint / STATE_FILE).exists() else "so it is no checkpoint"
            raise ValueError(f"it has no {TRAINER_STATE_NAME}, {reason}")
        trainer_state = read_mapping(checkpoint / TRAINER_STATE_NAME)
        state = read_state(checkpoint)
        lineage = state["lineage"]
        callbacks = trainer_state.get("stateful_callbacks")
        known = isinstance(callbacks, dict)
        exported = {name: value for name, value in callbacks.items() if not isinstance(value, list)} if known else {}
        if not known or trainer_state_digest(trainer_state, exported) != state["trainer_state"]:
            raise ValueError(f"{TRAINER_STATE_NAME} is damaged (its digest does not match)")
        for name, measured in state["files"].items():
            if not (checkpoint / name).is_file():
                raise ValueError(f"it lacks {name}")
            if measure and _measure(checkpoint / name) != measured:
                raise ValueError(f"{name} is damaged")
    except (OSError, ValueError) as error:
        damage = _reason(error).removesuffix(": resume from another checkpoint")
        return Checkpoint(checkpoint, update, lineage, damage)
    return Checkpoint(checkpoint, update, lineage, None)


def _measure(path: Path) -> list[Any]:
    with open(path, "rb") as file:
        return [path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest()]


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())
