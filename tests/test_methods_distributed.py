"""The methods on two real processes over gloo: as on one, the same on both, and through a resume."""

import pytest
from lab_runs import LAB_ARGS, without_seconds
from launching import launch


pytestmark = pytest.mark.slow


SCHEDULE = {"entropy_schedule": {"kind": "linear", "start": 1.0, "end": 0.6}}
METHODS = {
    "aer": {"method": "aer", "entropy_controller": {"gain": 5.0}, "entropy_actuator": {"high": 0.5}},
    "aent": {
        "method": "aent",
        "entropy_controller": {"gain": 5.0, "warmup": 0},
        "entropy_actuator": {"low": 0.03, "high": 0.45, "start": 0.1},
    },
    "entrocraft": {"method": "entrocraft", "entropy_controller": {"width": 0.02}},
    "entropic": {"method": "entropic"},
    "clip_cov": {"method": "clip_cov", "entropy_actuator": {"ratio": 0.05, "cov_low": 0.01}},
    "kl_cov": {"method": "kl_cov"},
}


def runs_of(methods, **geometry):
    own = {name: value for name, value in LAB_ARGS.items() if name != "epsilon_high"}  # a method has its own
    shared = {**own, **SCHEDULE, "save_strategy": "steps", **geometry}
    return {
        f"{name}_{loss_type}": {**shared, **METHODS[name], "loss_type": loss_type}
        for name in methods
        for loss_type in ("dapo", "grpo")
    }


def launch_all(folder, processes, runs):
    config = "cpu" if processes == 1 else "ddp"
    folder.mkdir()
    return launch(folder, processes, config, worker="methods_worker.py", runs=runs)


def test_several_updates_a_rollout_and_a_resume_inside_one(tmp_path):
    runs = runs_of(METHODS, per_device_train_batch_size=2, max_steps=12, save_steps=6)
    ranks = launch_all(tmp_path / "two", 2, runs)
    for name in runs:
        first, second = (rank[name] for rank in ranks)
        assert len(first["whole"]["records"]) == 3
        assert without_seconds(first["whole"]["records"]) == without_seconds(second["whole"]["records"])
        assert first["whole"]["weights"] == second["whole"]["weights"]
        assert without_seconds(first["resumed"]["records"]) == without_seconds(first["whole"]["records"])
        assert [rank[name]["resumed"]["weights"] for rank in ranks] == [first["whole"]["weights"]] * 2


def test_two_processes_equal_one(tmp_path):
    # one update a rollout, as TRL shuffles a process's own completions; what chooses tokens does so in a micro-batch
    methods = ("aer", "aent", "entrocraft", "entropic")
    geometry = {"steps_per_generation": 4, "gradient_accumulation_steps": 4, "max_steps": 4, "save_steps": 2}
    (one,) = launch_all(tmp_path / "one", 1, runs_of(methods, per_device_train_batch_size=4, **geometry))
    two, _ = launch_all(tmp_path / "two", 2, runs_of(methods, per_device_train_batch_size=2, **geometry))
    moved = set()
    for name in one:
        single, double = one[name]["whole"], two[name]["whole"]
        for own, other in zip(single["records"], double["records"], strict=True):
            for field in ("entropy", "clamped_entropy", "control", "kept", "reward"):
                assert (own[field] is None) == (other[field] is None)
                assert own[field] is None or own[field] == pytest.approx(other[field], abs=2e-5), (name, field)
        assert single["weights"] == pytest.approx(double["weights"], rel=1e-6), name
        if len({record["control"] for record in single["records"]}) > 1:
            moved.add(name)
    assert moved == set(one)
