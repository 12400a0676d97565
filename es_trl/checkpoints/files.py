"""The check that a checkpoint is whole, by the list of its files.

A save writes `es_state.json` when every process has written its files, and `trainer_state.json` last. `es_state.json`
lists the size and the SHA-256 of every file. It also holds digests of its own content and of `trainer_state.json`.
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
STATE_VERSION = 7


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint folder."""

    path: Path
    update: int  # from the name of the folder
    lineage: Lineage | None  # `None` if its state cannot be read
    damage: str | None  # why the checkpoint is not whole; `None` if it is


def list_files(checkpoint: Path, accelerator: Accelerator) -> dict[str, list[Any]]:
    """Return the size and the SHA-256 of every file, by its path in the checkpoint. Each process reads a share."""
    names = sorted(str(path.relative_to(checkpoint)) for path in checkpoint.rglob("*") if path.is_file())
    own = names[accelerator.process_index :: accelerator.num_processes]
    return dict(gather_object([(name, _measure(checkpoint / name)) for name in own]))


def with_digest(content: dict[str, Any]) -> str:
    """Return the content of a state file as JSON text, with its version and a digest that reveals damage."""
    content = json.loads(
        json.dumps({"version": STATE_VERSION, **content})
    )  # the digest must be that of the values as read
    return json.dumps({**content, "digest": _digest(content)}, indent=2)


def trainer_state_digest(content: dict[str, Any], exported: dict[str, Any]) -> str:
    """
    Return a digest of `trainer_state.json`.

    Its `stateful_callbacks` are left out, because transformers fills them in last. Instead, `exported` gives the states
    of the callbacks by name, except for names that several callbacks share.
    """
    rest = {name: value for name, value in content.items() if name != "stateful_callbacks"}
    return _digest(json.loads(json.dumps([rest, exported])))


def read_state(checkpoint: Path) -> dict[str, Any]:
    """Read a checkpoint's state file, or raise a ValueError if it is missing, damaged, or of another version."""
    path = checkpoint / STATE_FILE
    if not path.exists():
        raise ValueError(
            f"{checkpoint} has no {STATE_FILE}, because another trainer wrote it or save_only_model was set: start a "
            "new run with the checkpoint as the model"
        )
    content = read_mapping(path)
    version = content.pop("version", None)
    if version != STATE_VERSION:
        found = f"{path} has version {version} but this es_trl reads version {STATE_VERSION}"
        raise ValueError(f"{found}: resume with the version of es_trl that wrote it")
    digest = content.pop("digest", None)
    if digest != _digest({"version": version, **content}):
        raise ValueError(f"{path} is damaged (its digest does not match): resume from another checkpoint")
    return content


def read_mapping(path: Path, advice: str = "resume from another checkpoint") -> dict[str, Any]:
    """Read a JSON object from a file, or raise a ValueError with the advice."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is damaged ({_reason(error)}): {advice}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} is damaged (it holds no JSON object): {advice}")
    return content


def check(checkpoint: Path, measure: bool = True) -> Checkpoint:
    """Check a checkpoint against its own list of files. With `measure` the content of all files is verified, too."""
    number = checkpoint.name.rpartition("-")[2]
    update, lineage = int(number) if number.isdecimal() else -1, None
    try:
        if not (checkpoint / TRAINER_STATE_NAME).exists():
            has_state = (checkpoint / STATE_FILE).exists()
            reason = "the save was interrupted" if has_state else "the folder is not a checkpoint"
            raise ValueError(f"{TRAINER_STATE_NAME} is missing, so {reason}")
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
                raise ValueError(f"{name} is missing")
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
