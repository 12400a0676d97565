import json
import os

import pytest
from checkpoint_folders import made

from es_trl.checkpoint_files import check, find_checkpoint, remove_old, runs_in


def test_the_latest_whole_checkpoint_is_found(tmp_path):
    for step in (4, 8, 16, 32, 100):
        made(tmp_path / f"checkpoint-{step}")
    (tmp_path / "checkpoint-100" / "trainer_state.json").unlink()  # a save that was cut short, and so was the next
    (tmp_path / "checkpoint-32" / "trainer_state.json").write_text('{"epoch": 0.')
    (tmp_path / "checkpoint-16" / "optimizer.pt").unlink()  # a removal that was
    (tmp_path / "checkpoint-best").mkdir()
    assert find_checkpoint(True, tmp_path) == str(tmp_path / "checkpoint-8")
    assert find_checkpoint(str(tmp_path / "checkpoint-4"), tmp_path) == str(tmp_path / "checkpoint-4")
    assert find_checkpoint(None, tmp_path) is find_checkpoint(False, tmp_path) is None
    for step, lack in ((100, "it has no trainer_state.json"), (32, "is damaged"), (16, "it lacks optimizer.pt")):
        with pytest.raises(ValueError, match=f"not a whole checkpoint .*{lack}.* resume from .*checkpoint-8"):
            find_checkpoint(str(tmp_path / f"checkpoint-{step}"), tmp_path)


def test_a_runs_folder_is_no_checkpoint(tmp_path):
    made(tmp_path / "run" / "checkpoint-8")
    with pytest.raises(ValueError, match="run is not a whole checkpoint .*: resume from .*-8"):
        find_checkpoint(str(tmp_path / "run"), tmp_path)


def test_without_a_whole_checkpoint_there_is_a_sentence(tmp_path):
    with pytest.raises(ValueError, match="holds no whole checkpoint to resume from: start the run without"):
        find_checkpoint(True, tmp_path)
    with pytest.raises(ValueError, match="must be a checkpoint's folder, got 'runs/none', which does not exist"):
        find_checkpoint("runs/none", tmp_path)


def _halved(content: bytes) -> bytes:
    return content[: len(content) // 2]


def _one_bit(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 1])


DAMAGES = {
    "empty": lambda content: b"",
    "half": _halved,
    "zeros": lambda content: bytes(len(content)),
    "random": lambda content: os.urandom(len(content)),
    "one bit": _one_bit,
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize(
    "name", ["model.safetensors", "optimizer.pt", "nested/scheduler.pt", "es_state.json", "trainer_state.json"]
)
def test_damage_of_whatever_file_is_found_and_the_one_before_taken(name, damage, tmp_path):
    files = ("model.safetensors", "optimizer.pt", "nested/scheduler.pt")
    made(tmp_path / "checkpoint-4", files)
    folder = made(tmp_path / "checkpoint-8", files)
    path = folder / name
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    assert name in check(folder).damage
    assert find_checkpoint(True, tmp_path) == str(tmp_path / "checkpoint-4")
    with pytest.raises(ValueError, match=f"not a whole checkpoint .*{name}.*: resume from .*checkpoint-4"):
        find_checkpoint(folder, tmp_path)


def test_counts_of_both_states_are_compared(tmp_path):
    folder = made(tmp_path / "checkpoint-8")
    (folder / "trainer_state.json").write_text(json.dumps({"global_step": 13, "epoch": 0.5}))
    assert check(folder).damage == "trainer_state.json has global_step 13 and es_state.json 14"


def test_a_run_is_not_taken_for_another(tmp_path):
    made(tmp_path / "checkpoint-100", run=1)
    with pytest.raises(
        ValueError, match="the latest run in .* has no whole checkpoint yet, and .*-100 is of an earlie"
    ):
        find_checkpoint(True, tmp_path, run=2)
    made(tmp_path / "checkpoint-4", run=2)
    assert find_checkpoint(True, tmp_path, run=2) == str(tmp_path / "checkpoint-4")
    assert find_checkpoint(True, tmp_path) == str(tmp_path / "checkpoint-100")
    assert runs_in(tmp_path) == {1, 2}


@pytest.mark.parametrize(
    ("limit", "keep", "left"),
    [
        (2, None, {8, 12, 100}),
        (1, None, {12, 100}),
        (1, 4, {4, 12, 100}),
        (3, 4, {4, 8, 12, 100}),
        (None, None, {4, 8, 12, 100}),
        (0, None, {4, 8, 12, 100}),
    ],
)
def test_the_oldest_by_update_go_and_other_runs_stay(limit, keep, left, tmp_path):
    made(tmp_path / "checkpoint-100", run=1)
    for age, step in enumerate((4, 8, 12)):
        folder = made(tmp_path / f"checkpoint-{step}", run=2)
        os.utime(folder, (1e9 - age, 1e9 - age))  # the clock was set back: the newest looks oldest
    best = None if keep is None else str(tmp_path / f"checkpoint-{keep}")
    remove_old(tmp_path, 2, limit, best)
    assert {int(path.name.partition("-")[2]) for path in tmp_path.iterdir()} == left
