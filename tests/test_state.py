import json

import pytest
import torch
from checkpoint_folders import CALLBACKS, GEOMETRY, made

from es_trl.checkpoints.run_state import RunState, load_rollout, save_rollout
from es_trl.tracking.history import RolloutRecord


def test_round_trip(tmp_path):
    folder = made(tmp_path / "checkpoint-14")
    state = RunState.load(folder, CALLBACKS, GEOMETRY)
    assert (state.micro_step, state.rollout, state.record.entropy, state.seconds) == (14, 3, 0.4, 2.5)
    state.save(tmp_path)
    assert json.loads((tmp_path / "es_state.json").read_text()) == json.loads((folder / "es_state.json").read_text())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"version": 3, "roll', "es_state.json is damaged .*: resume from another checkpoint"),
        ("[]", "es_state.json is damaged .it holds no JSON object"),
        ('{"version": 7}', "es_state.json is damaged .its digest does not match"),
        ("{}", "has version None but this es_trl reads version 7"),
    ],
)
def test_a_damaged_or_foreign_state_is_one_sentence(text, message, tmp_path):
    folder = made(tmp_path / "checkpoint-8")
    (folder / "es_state.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        RunState.load(folder, CALLBACKS, GEOMETRY)


def test_every_change_of_a_state_is_found(tmp_path):
    folder = made(tmp_path / "checkpoint-8")
    content = json.loads((folder / "es_state.json").read_text())
    for name, value in content.items():
        for changed in ({**content, name: [value]}, {key: content[key] for key in content if key != name}):
            (folder / "es_state.json").write_text(json.dumps(changed))
            with pytest.raises(ValueError, match="es_state.json (is damaged|has version)"):
                RunState.load(folder, CALLBACKS, GEOMETRY)


@pytest.mark.parametrize(
    "change",
    [
        {"rollout": 2},
        {"micro_step": 12},
        {"micro_step": 17},
        {"record": None},
        {"record": RolloutRecord(rollout=2, global_step=8)},
        {"global_step": 13},
    ],
)
def test_counts_that_do_not_belong_together_are_refused(change, tmp_path):
    folder = made(tmp_path / "checkpoint-14", **change)
    with pytest.raises(ValueError, match="micro-batches, .* which contradict each other: resume from another"):
        RunState.load(folder, CALLBACKS, GEOMETRY)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"num_processes": 1},
            "with num_processes 2 but this run has 1, .* set num_processes to 2, or start",
        ),
        ({"steps_per_generation": 8}, "with steps_per_generation 4 but this run has 8, so its rollouts would not"),
        ({"num_generations": 2}, "with num_generations 8 but this run has 2"),
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
        with pytest.raises(
            ValueError, match=f"es_rollout_{process}.pt cannot be read .* open rollout: restore the file"
        ):
            load_rollout(tmp_path, process, torch.device("cpu"))
