"""Two processes that push to a Hub on this machine."""

import json

import pytest
from lab_runs import LAB_ARGS
from launching import command, run, shipped, written
from local_hub import TOKEN, Fault, LocalHub
from safetensors.torch import load


pytestmark = pytest.mark.slow


def launch_two(folder, hub, token, **changes):
    options = {**LAB_ARGS, "per_device_train_batch_size": 2, "by_rule": True, "save_strategy": "steps", "save_steps": 4}
    options |= {"output_dir": str(folder), "push_to_hub": True, "hub_model_id": "tester/two", **changes}
    config = written(folder, shipped("ddp", num_processes=2, mixed_precision="no", use_cpu=True))
    given = {"HF_ENDPOINT": hub.url, "HF_TOKEN": token, "HF_HUB_OFFLINE": "0", "HF_HOME": str(folder / "home")}
    return run(command(config, "tests/distributed_worker.py", json.dumps(options)), **given)


def test_two_processes_push_as_one(tmp_path):
    with LocalHub({TOKEN: "tester"}) as hub:
        hub.faults = [Fault("POST .*/commit/", 403, times=1)]
        done = launch_two(tmp_path, hub, TOKEN)
        creations = hub.calls.count("POST /api/repos/create")
        commits = hub.repositories["tester/two"].commits
    assert done.returncode == 0, done.stdout[-12000:]
    assert TOKEN not in done.stdout and creations == 2  # before the model loads, and by transformers
    assert done.stdout.count("the push of update 4 to tester/two failed (HTTP 403 Forbidden, out of order)") == 1
    main, other = (json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in range(2))
    assert [title for title, _ in commits] == ["Training in progress, step 8"]
    weights = load(commits[0][1]["model.safetensors"])
    total = sum(part.double().abs().sum().item() for part in weights.values())
    assert main["weights"] == other["weights"] == pytest.approx(total, rel=1e-12)
    for own, others in zip(main["records"], other["records"], strict=True):
        differing = {name for name in own if own[name] != others[name]} - {"seconds"}
        assert differing <= {"events"}  # which nothing that controls reads


def test_two_processes_are_refused_alike(tmp_path):
    with LocalHub({}) as hub:
        done = launch_two(tmp_path, hub, TOKEN)
    assert done.returncode != 0 and TOKEN not in done.stdout
    said = "ValueError: `push_to_hub` is true but tester/two cannot be pushed to (HTTP 401 Unauthorized"
    assert done.stdout.count(said) == 2
