"""Two real processes over gloo."""

import json
from collections import Counter

import pytest
from lab_runs import BONUS, without_seconds
from launching import launch

from es_trl.checkpoints.run_folder import only_run
from es_trl.tracking.completions import read_completions


pytestmark = pytest.mark.slow


CLIP = {
    "entropy_schedule": {"kind": "stable_anneal", "target": 0.5, "end": 0.2, "ratio": 0.5},
    "entropy_controller": {"kind": "sign_step", "delta": 0.05, "window": 2, "warmup": 0},
    "entropy_actuator": {"kind": "clip"},
}


CHAIN = {
    "entropy_schedule": {"kind": "constant", "target": 0.5},
    "entropy_actuator": ["clip_high", {"kind": "entropy_bonus", "low": -0.5, "high": 0.5}],
}


@pytest.mark.parametrize("blocks", [CLIP, CHAIN], ids=["clip", "self_tuned"])
def test_both_ranks_have_the_same_history(blocks, tmp_path):
    first, second = launch(tmp_path, 2, "ddp", by_rule=False, per_device_train_batch_size=2, **blocks)
    assert [result["world"] for result in (first, second)] == [2, 2]
    assert first["backend"] == "gloo" and first["wrapper"] == "DistributedDataParallel"
    assert without_seconds(first["records"]) == without_seconds(second["records"])
    assert first["settings"] == second["settings"] and first["weights"] == second["weights"]
    lines = [json.loads(line) for line in (tmp_path / "es_history.jsonl").read_text().splitlines()]
    assert lines == first["records"] and len(lines) == 2
    samples = read_completions(tmp_path / "es_completions.jsonl")
    assert [row["rollout"] for row in samples] == [0] * 16 + [1] * 16
    assert [row["tokens"] is None for row in samples] == ([False] * 8 + [True] * 8) * 2  # those of the other process


def test_two_processes_equal_one(tmp_path):
    # one update a rollout: TRL's shuffle of a process's own completions cannot change which update they are in
    geometry = {"steps_per_generation": 4, "gradient_accumulation_steps": 4, "max_steps": 5, "by_rule": True}
    (one,) = launch(tmp_path / "one", 1, "cpu", per_device_train_batch_size=4, **geometry, **BONUS)
    two, _ = launch(tmp_path / "two", 2, "ddp", per_device_train_batch_size=2, **geometry, **BONUS)
    assert len(one["records"]) == len(two["records"]) == 5
    for own, other in zip(one["records"], two["records"], strict=True):
        for field in ("target", "entropy", "entropy_se", "error", "control", "reward", "completion_tokens"):
            assert own[field] == pytest.approx(other[field], abs=2e-5), field
    # the control moved, so the weights were moved by it
    assert len({record["control"] for record in one["records"]}) == 5
    assert one["weights"] == pytest.approx(two["weights"], rel=1e-6)


SWITCH = {
    "entropy_schedule": {"kind": "stable_anneal", "target": 0.5, "end": 0.2, "ratio": 0.5},
    "entropy_actuator": {"kind": "entropy_bonus", "low": -0.5, "high": 0.5},
    "dynamic_sampling_tries": 2,
}
HARDER = {"start": "onset", "data": {"hard": 3, "train": 1}, "num_generations": 8, "max_completion_length": 16}


@pytest.mark.parametrize(("hold", "early"), [("completions", 0), ("prompts", 2)])
def test_two_processes_have_the_stages_of_one(hold, early, tmp_path):
    geometry = {"steps_per_generation": 4, "gradient_accumulation_steps": 4, "max_steps": 6, "by_rule": True}
    geometry |= {"curriculum": [{**HARDER, "hold": hold}], "early_generations": early, **SWITCH}
    (one,) = launch(tmp_path / "one", 1, "cpu", per_device_train_batch_size=4, **geometry)
    two, other_rank = launch(tmp_path / "two", 2, "ddp", per_device_train_batch_size=2, **geometry)
    assert one["prompts"] == [sum(parts, []) for parts in zip(two["prompts"], other_rank["prompts"], strict=True)]
    assert [record["curriculum_stage"] for record in one["records"]] == [0, 0, 0, 1, 1, 1]
    assert any(record["sampling"]["tries"] for record in one["records"])
    for own, other in zip(one["records"], two["records"], strict=True):
        assert own["sampling"] == pytest.approx(other["sampling"]) and own["early_exit"] == other["early_exit"]
        for field in ("target", "entropy", "entropy_se", "control", "jump", "reward", "completion_tokens"):
            assert own[field] == (None if own[field] is None else pytest.approx(other[field], abs=2e-5)), field
    assert one["weights"] == pytest.approx(two["weights"], rel=1e-6)


@pytest.mark.parametrize("config", ["zero3", "fsdp2"])  # the killed runs of test_kills.py have DDP
def test_resume_inside_a_rollout_on_two_processes(config, tmp_path):
    if config == "zero3":
        pytest.importorskip("deepspeed")
    options = {"by_rule": True, "per_device_train_batch_size": 2, "max_steps": 16, "save_steps": 5}
    options |= {"curriculum": [{**HARDER, "hold": "prompts"}], **SWITCH, "save_strategy": "steps"}
    options["early_generations"] = 2
    whole = launch(tmp_path / "run", 2, config, **options)
    assert [record["num_generations"] for record in whole[0]["records"]] == [4, 4, 8, 8]
    assert any(record["early_exit"]["left"] for record in whole[0]["records"])
    for update, finished in ((5, 1), (10, 2)):  # inside the second rollout, and the first one of the new stage
        checkpoint = str(tmp_path / "run" / f"checkpoint-{update}")
        resumed = launch(tmp_path / "again", 2, config, resume_from=checkpoint, **options)
        assert without_seconds(resumed[0]["records"]) == without_seconds(whole[0]["records"])
        # the other process keeps what it saw itself
        assert without_seconds(resumed[1]["records"]) == without_seconds(whole[1]["records"])[finished:]
        assert [result["weights"] for result in resumed] == [result["weights"] for result in whole]


def test_another_number_of_processes_is_refused(tmp_path):
    options = {"by_rule": False, "per_device_train_batch_size": 4, "max_steps": 4, "save_steps": 2, **BONUS}
    launch(tmp_path / "run", 1, "cpu", save_strategy="steps", **options)
    checkpoint = str(tmp_path / "run" / "checkpoint-2")
    with pytest.raises(AssertionError, match="with num_processes 1 but this run has 2"):
        launch(tmp_path / "again", 2, "ddp", resume_from=checkpoint, **{**options, "per_device_train_batch_size": 2})


def test_what_the_main_process_refuses_ends_both(tmp_path):
    options = {"by_rule": False, "per_device_train_batch_size": 2, "max_steps": 4, "save_steps": 4, **BONUS}
    options["save_strategy"] = "steps"
    launch(tmp_path / "run", 2, "ddp", **options)
    checkpoint = tmp_path / "run" / "checkpoint-4"
    finished = launch(tmp_path / "run", 2, "ddp", resume_from=str(checkpoint), **options)
    assert [result["records"] for result in finished] == [[], []]  # nothing was trained
    (checkpoint / "rng_state_1.pth").write_bytes(b"")
    with pytest.raises(AssertionError, match="not a whole checkpoint .rng_state_1.pth is damaged"):
        launch(tmp_path / "run", 2, "ddp", resume_from=str(checkpoint), **options)
    with only_run(tmp_path / "run", True), pytest.raises(AssertionError, match="another run is training in"):
        launch(tmp_path / "run", 2, "ddp", **options)


def added_collectives(tmp_path, updates, **options):
    """Those of two rollouts of `updates` updates that GRPOTrainer does not make, by name and bytes; none is missing."""
    geometry = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 4 // updates, "max_steps": 2 * updates}
    first, second = launch(tmp_path, 2, "ddp", worker="collectives_worker.py", **geometry, **BONUS, **options)
    assert first == second
    own, trl = (Counter(map(tuple, first[name])) for name in ("ESGRPOTrainer", "GRPOTrainer"))
    assert not trl - own
    return own - trl


# sums of 4 prompts in float64, at each of two rollouts; and when the run begins lock, checkpoint and number
CONTROL = Counter({("all_reduce", 5 * 4 * 8): 2, ("broadcast_object_list", 0): 3})


def test_one_small_reduce_per_rollout_is_added_to_grpo(tmp_path):
    assert added_collectives(tmp_path, 4, micro_batches="completions") == CONTROL


def test_a_plan_adds_one_small_gather_per_rollout(tmp_path):
    """4 whole numbers for each of the 8 completions of a process."""
    added = added_collectives(tmp_path, 4, shared_prefixes=True)
    assert added - CONTROL == {("all_gather", 8 * 4 * 8): 2}


def test_moved_completions_add_gathers_per_update_and_not_per_micro_batch(tmp_path):
    added = added_collectives(tmp_path, 1, shared_prefixes=False) - CONTROL
    # at each of two rollouts the plan, 9 columns of the batch, and log-probabilities and entropies back
    assert {name for name, _ in added} == {"all_gather"} and added.total() == 2 * (1 + 9 + 2)
