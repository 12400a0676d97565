"""Small checkpoint folders, as a save leaves them."""

import json
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from es_trl.checkpoints.files import list_files, trainer_state_digest
from es_trl.checkpoints.lineage import Identity, Lineage
from es_trl.checkpoints.run_state import RunState
from es_trl.tracking.history import RolloutRecord


GEOMETRY = {
    "num_processes": 2,
    "per_device_train_batch_size": 4,
    "gradient_accumulation_steps": 1,
    "steps_per_generation": 4,
    "num_iterations": 1,
    "num_generations": 8,
}
LINEAGE = [["first", None]]
CALLBACKS = ["Curriculum", "EntropyScheduler"]


def made(
    folder: Path,
    files: tuple[str, ...] = ("optimizer.pt", "rng_state.pth"),
    run: int = 1,
    lineage: Lineage = LINEAGE,
    **changes: Any,
) -> Path:
    """A checkpoint folder inside rollout 3, with its state and the files that the state lists."""
    folder.mkdir(parents=True)
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"weights of " + name.encode())
    values = {
        "files": list_files(folder, Accelerator(cpu=True)),
        "global_step": 14,
        "epoch": 0.5,
        "geometry": GEOMETRY,
        "micro_step": 14,
        "rollout": 3,
        "record": RolloutRecord(rollout=3, global_step=12, entropy=0.4),
        "clip_fractions": [0.1],
        "seconds": 2.5,
        "settings": {"epsilon_high": 0.3},
        "callbacks": [(name, {}) for name in CALLBACKS],
    }
    content = {"global_step": 14, "epoch": 0.5, "log_history": [{"loss": 0.25}]}
    callbacks = {"TrainerControl": {"attributes": {}}}
    values["trainer_state"] = trainer_state_digest(content, callbacks)
    state = RunState(Identity(run, lineage), **{**values, **changes})
    state.save(folder)
    (folder / "trainer_state.json").write_text(json.dumps({**content, "stateful_callbacks": callbacks}))
    return folder
