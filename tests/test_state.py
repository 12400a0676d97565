import json

import pytest
import torch

from es_trl.history import RolloutRecord
from es_trl.state import RunState, find_checkpoint, load_rollout, save_rollout


GEOMETRY = {"num_processes": 2, "steps_per_generation": 4, "num_generations": 8}
CALLBACKS = ["Curriculum", "EntropyScheduler"]


def made(folder, files=("optimizer.pt", "rng_state.pth"), **changes):
    """A checkpoint folder with its state and the files that the state lists."""
    folder.mkdir(parents=True)
    for name in files:
        (folder / name).write_bytes(b"x")
    record = RolloutRecord(rollout=3, global_step=12, entropy=0.4)
    values = {"files": list(files), "geometry": GEOMETRY, "micro_step": 14, "rollout": 3, "record": record,
              "clip_fractions": [0.1], "seconds": 2.5, "settings": {"epsilon_high": 0.3},
              "callbacks": [(name, {}) for name in CALLBACKS]}  # fmt: skip
    state = RunState(**{**values, **changes})
    state.save(folder)
    (folder / "trainer_state.json").write_text("{}")
    return folder


def test_round_trip(tmp_path):
    folder = made(tmp_path / "checkpoint-14")
    state = RunState.load(folder, CALLBACKS, GEOMETRY)
    assert (state.micro_step, state.rollout, state.record.entropy, state.seconds) == (14, 3, 0.4, 2.5)
    state.save(tmp_path)
    assert json.loads((tmp_path / "es_state.json").read_text()) == json.loads((folder / "es_state.json").read_text())


def test_the_latest_whole_checkpoint_is_found(tmp_path):
    for step in (4, 8, 16, 32, 100):
        made(tmp_path / f"checkpoint-{step}")
    (tmp_path / "checkpoint-100" / "trainer_state.json").unlink()  # a save that was cut short, and so were these
    (tmp_path / "checkpoint-32" / "trainer_state.json").write_text('{"epoch": 0.')
    (tmp_path / "checkpoint-16" / "optimizer.pt").unlink()  # a removal that was
    (tmp_path / "checkpoint-best").mkdir()
    assert find_checkpoint(True, tmp_path) == str(tmp_path / "checkpoint-8")
    assert find_checkpoint(str(tmp_path / "checkpoint-4"), tmp_path) == str(tmp_path / "checkpoint-4")
    assert find_checkpoint(None, tmp_path) is find_checkpoint(False, tmp_path) is None
    for step, lack in ((100, "it has no trainer_state.json"), (32, "torn"), (16, "it lacks optimizer.pt")):
        with pytest.raises(ValueError, match=f"no whole checkpoint .*{lack}.* resume from .*checkpoint-8"):
            find_checkpoint(str(tmp_path / f"checkpoint-{step}"), tmp_path)


def test_a_runs_folder_is_no_checkpoint(tmp_path):
    made(tmp_path / "run" / "checkpoint-8")
    with pytest.raises(ValueError, match="run is no whole checkpoint .* it is another folder, .* resume from .*-8"):
        find_checkpoint(str(tmp_path / "run"), tmp_path)


def test_without_a_whole_checkpoint_there_is_a_sentence(tmp_path):
    with pytest.raises(ValueError, match="holds no whole checkpoint to resume from: start the run without"):
        find_checkpoint(True, tmp_path)
    with pytest.raises(ValueError, match="is 'runs/none', and there is no such folder: set a checkpoint's folder"):
        find_checkpoint("runs/none", tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"version": 3, "roll', "es_state.json is torn, and no JSON .*: resume from another checkpoint"),
        ("[]", "es_state.json is no mapping"),
        ('{"version": 4}', "es_state.json is no state of a run"),
        ("{}", "has version None and this es_trl reads version 4"),
    ],
)
def test_a_torn_or_foreign_state_is_one_sentence(text, message, tmp_path):
    folder = made(tmp_path / "checkpoint-8")
    (folder / "es_state.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        RunState.load(folder, CALLBACKS, GEOMETRY)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"num_processes": 1},
            "with num_processes 2 and this run has 1, .* set num_processes to 2, or start",
        ),
        ({"steps_per_generation": 8}, "with steps_per_generation 4 and this run has 8, which shifts the rollouts"),
        ({"num_generations": 2}, "with num_generations 8 and this run has 2"),
    ],
)
def test_another_geometry_is_refused(change, message, tmp_path):
    folder = made(tmp_path / "checkpoint-8")
    with pytest.raises(ValueError, match=message):
        RunState.load(folder, CALLBACKS, {**GEOMETRY, **change})


def test_what_a_process_has_left_goes_round(tmp_path):
    batches = [{"ids": torch.arange(6).view(2, 3), "advantages": torch.tensor([0.5, -0.5]), "none": None}]
    save_rollout(tmp_path, 1, batches)
    (found,) = load_rollout(tmp_path, 1, torch.device("cpu"))
    assert torch.equal(found["ids"], batches[0]["ids"]) and found["none"] is None
    path = tmp_path / "es_rollout_1.pt"
    path.write_bytes(path.read_bytes()[:99])
    for process in (0, 1):
        with pytest.raises(ValueError, match=f"es_rollout_{process}.pt cannot be read .* inside a rollout"):
            load_rollout(tmp_path, process, torch.device("cpu"))
