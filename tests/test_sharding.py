"""DDP, ZeRO-2, ZeRO-3 and FSDP2 on two processes, by the shipped configurations: the same run."""

import pytest
from lab_runs import LAB_ARGS, without_seconds
from launching import launch
from safetensors.torch import load_file

from es_trl.lab import BASE_MODEL


pytestmark = pytest.mark.slow


pytest.importorskip("deepspeed")
pytest.importorskip("peft")
CONTROL = {
    "entropy_schedule": {"kind": "stable_anneal", "target": 0.5, "end": 0.2, "ratio": 0.5},
    "entropy_actuator": {"kind": "entropy_bonus", "low": -0.5, "high": 0.5},
}
SWITCH = {"start": "onset", "data": {"hard": 3, "train": 1}, "num_generations": 8, "max_completion_length": 16}
PLAIN = {**LAB_ARGS, **CONTROL, "per_device_train_batch_size": 2, "learning_rate": 1e-4}
RUNS = {
    "switch": {
        **PLAIN,
        "max_steps": 16,
        "gradient_accumulation_steps": 2,
        "steps_per_generation": 8,
        "curriculum": [{**SWITCH, "hold": "prompts"}],
        "dynamic_sampling_tries": 2,
    },
    "aent": {
        **PLAIN,
        "method": "aent",
        "entropy_controller": {"gain": 5.0, "warmup": 0},
        "entropy_actuator": {"low": 0.03, "high": 0.45, "start": 0.1},
        "epsilon_high": None,
    },
    "lora": {**PLAIN, "lora": True, "learning_rate": 1e-3},
    "reference": {**PLAIN, "beta": 0.1},
    "checkpointing": {**PLAIN, "gradient_checkpointing": True},
    "lora_reference_checkpointing": {**PLAIN, "lora": True, "beta": 0.1, "gradient_checkpointing": True},
}
WRAPPERS = {
    "ddp": "DistributedDataParallel",
    "zero2": "DeepSpeedEngine",
    "zero3": "DeepSpeedEngine",
    "fsdp2": "FSDPQwen2ForCausalLM",
}


def launch_all(folder, config):
    # use_cpu is decided by the kind of launch
    runs = {name: {key: value for key, value in run.items() if key != "use_cpu"} for name, run in RUNS.items()}
    runs = {name: {**run, "use_cpu": config != "fsdp2"} for name, run in runs.items()}
    folder.mkdir()
    ranks = launch(folder, 2, config, worker="sharded_worker.py", runs=runs)
    for name in RUNS:
        first, second = (without_seconds(rank[name]["records"]) for rank in ranks)
        assert first == second, (config, name)
    return ranks[0]


@pytest.fixture(scope="module")
def ddp(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sharding") / "ddp"
    return folder, launch_all(folder, "ddp")


@pytest.mark.parametrize("config", ["zero2", "zero3", "fsdp2"])
def test_the_numbers_are_those_of_ddp(config, ddp, tmp_path):
    folder, expected = ddp
    found = launch_all(tmp_path / config, config)
    assert [record["num_generations"] for record in found["switch"]["records"]] == [4, 4, 8, 8]
    for name, run in RUNS.items():
        wrapper = "FSDPPeftModel" if config == "fsdp2" and "lora" in run else WRAPPERS[config]
        assert found[name]["wrapper"] == wrapper, name
        for own, other in zip(found[name]["records"], expected[name]["records"], strict=True):
            for field in ("entropy", "clamped_entropy", "entropy_se", "target", "control", "reward"):
                assert own[field] == (None if other[field] is None else pytest.approx(other[field], abs=1e-5)), field
        own, other = (load_file(place / f"{name}.safetensors") for place in (tmp_path / config, folder))
        assert own.keys() == other.keys()
        assert max((own[part] - other[part]).abs().max().item() for part in own) < 1e-5, name


def test_the_runs_compared_move_what_they_train(ddp):
    folder, expected = ddp
    base = load_file(f"{BASE_MODEL}/model.safetensors")
    for name, run in RUNS.items():
        weights = load_file(folder / f"{name}.safetensors")
        if "lora" in run:
            moved = max(value.abs().max().item() for part, value in weights.items() if "lora_B" in part)
        else:
            moved = max((weights[part] - base[part].float()).abs().max().item() for part in base)
        assert moved > 3e-4, name
        assert expected[name]["wrapper"] == WRAPPERS["ddp"]
        controls = [record["control"] for record in expected[name]["records"]]
        assert len(set(controls)) >= len(controls) - 1 > 0, name
