import json
import os

import pytest
from checkpoint_folders import LINEAGE, made

from es_trl.checkpoints.choice import bring_back, find_checkpoint, remove_old, runs_in, set_aside, tidy
from es_trl.checkpoints.files import check
from es_trl.checkpoints.lineage import belongs, fresh, resumed


def test_the_latest_whole_checkpoint_is_found(tmp_path):
    for step in (4, 8, 16, 32, 100):
        made(tmp_path / f"checkpoint-{step}")
    (tmp_path / "checkpoint-100" / "trainer_state.json").unlink()  # an interrupted save, like the next one
    (tmp_path / "checkpoint-32" / "trainer_state.json").write_text('{"epoch": 0.')
    (tmp_path / "checkpoint-16" / "optimizer.pt").unlink()  # an interrupted removal
    (tmp_path / "checkpoint-best").mkdir()
    assert find_checkpoint(True, tmp_path) == str(tmp_path / "checkpoint-8")
    assert find_checkpoint(str(tmp_path / "checkpoint-4"), tmp_path) == str(tmp_path / "checkpoint-4")
    assert find_checkpoint(None, tmp_path) is find_checkpoint(False, tmp_path) is None
    for step, lack in ((100, "trainer_state.json is missing"), (32, "is damaged"), (16, "optimizer.pt is missing")):
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


@pytest.mark.parametrize("seed", range(40))
def test_every_bit_of_the_trainers_state_counts(seed, tmp_path):
    folder = made(tmp_path / "checkpoint-8")
    path = folder / "trainer_state.json"
    content = bytearray(path.read_bytes())
    place = seed * len(content) // 40
    content[place] ^= 1 << seed % 7
    path.write_bytes(content)
    assert "trainer_state.json is damaged" in check(folder).damage


@pytest.mark.parametrize("callbacks", [7, {}, {"TrainerControl": {"attributes": {"x": 1}}}, {"Other": {}}])
def test_so_do_the_states_of_its_callbacks(callbacks, tmp_path):
    folder = made(tmp_path / "checkpoint-8")
    path = folder / "trainer_state.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "stateful_callbacks": callbacks}))
    assert check(folder).damage == "trainer_state.json is damaged (its digest does not match)"


def test_a_lineage_leaves_out_other_runs_and_abandoned_futures():
    first = fresh()
    second = resumed(first, 8)  # the first session went on to 16 and was left
    third = resumed(second, 12)
    assert [belongs(first, update, third) for update in (4, 8, 9, 16)] == [True, True, False, False]
    assert [belongs(second, update, third) for update in (9, 12, 13)] == [True, True, False]
    assert belongs(third, 100, third) and not belongs(fresh(), 4, third)


def test_a_run_is_not_taken_for_another(tmp_path):
    made(tmp_path / "checkpoint-100", run=1)
    other = [["second", None]]
    with pytest.raises(
        ValueError, match="the latest run in .* has no whole checkpoint, and .*-100 belongs to another run"
    ):
        find_checkpoint(True, tmp_path, other)
    made(tmp_path / "checkpoint-4", run=2, lineage=other)
    assert find_checkpoint(True, tmp_path, other) == str(tmp_path / "checkpoint-4")
    assert find_checkpoint(True, tmp_path, LINEAGE) == str(tmp_path / "checkpoint-100")
    with pytest.raises(
        ValueError, match="holds checkpoints of several runs .for example checkpoint-100 and checkpoint-4"
    ):
        find_checkpoint(True, tmp_path)
    (tmp_path / "checkpoint-4" / "optimizer.pt").unlink()
    with pytest.raises(
        ValueError, match=r"no whole checkpoint .checkpoint-4 is skipped .optimizer.pt is missing.., and"
    ):
        find_checkpoint(True, tmp_path, other)
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
    made(tmp_path / "checkpoint-100")
    own = [["second", None]]
    for age, step in enumerate((4, 8, 12)):
        folder = made(tmp_path / f"checkpoint-{step}", lineage=own)
        os.utime(folder, (1e9 - age, 1e9 - age))  # the clock was set back: the newest looks oldest
    best = None if keep is None else str(tmp_path / f"checkpoint-{keep}")
    remove_old(tmp_path, own, limit, best)
    assert {int(path.name.partition("-")[2]) for path in tmp_path.iterdir()} == left


def test_a_checkpoint_that_makes_room_comes_back_where_the_new_one_is_not_whole(tmp_path):
    folder = made(tmp_path / "checkpoint-8")
    set_aside(folder)
    (folder / "part").mkdir(parents=True)
    bring_back(folder)
    assert check(folder).damage is None and [path.name for path in tmp_path.iterdir()] == ["checkpoint-8"]
    set_aside(folder)
    folder.mkdir()
    tidy(tmp_path)  # after a kill in the save
    assert check(folder).damage is None and [path.name for path in tmp_path.iterdir()] == ["checkpoint-8"]
    set_aside(folder)
    made(folder, lineage=[["second", None]])
    tidy(tmp_path)  # after a kill behind the save
    assert check(folder).lineage == [["second", None]] and [path.name for path in tmp_path.iterdir()] == [
        "checkpoint-8"
    ]
