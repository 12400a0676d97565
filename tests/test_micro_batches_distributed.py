"""Updates by tokens on two processes: the weights and metrics of TRL's micro-batches, and as many passes everywhere."""

import pytest
import torch
from equal_updates import ARGS, MODELS, Run, unequal_metrics
from launching import launch
from lab_runs import without_seconds
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM


pytestmark = pytest.mark.slow


pytest.importorskip("deepspeed")
LAYOUTS = {
    "packed": {"shared_prefixes": False},
    "shared": {"shared_prefixes": True},
    "trimmed": {"model_init_kwargs": {"dtype": "float32", "attn_implementation": "eager"}},
}
SMALL = {"max_tokens_per_micro_batch": 48}
# 16 completions per process in micro-batches of 2
HALF = {"gradient_accumulation_steps": 4, "max_steps": 4}
GEOMETRIES = {
    "half": HALF,
    "each": {"gradient_accumulation_steps": 1, "steps_per_generation": 4, "max_steps": 6},
    "whole": {"gradient_accumulation_steps": 8, "max_steps": 3},
    "again": {**HALF, "num_iterations": 2, "beta": 0.1, "max_steps": 8, "loss_type": "grpo"},
    "uneven": {**HALF, "uneven": True},
}
LAYOUT_OF = {"half": list(LAYOUTS), "each": ["packed"], "whole": ["packed", "shared"], "again": ["packed"]}
LAYOUT_OF["uneven"] = ["packed", "shared", "trimmed"]
PAIRS = [(geometry, layout) for geometry, layouts in LAYOUT_OF.items() for layout in layouts]


def runs_for(config):
    plain = {key: value for key, value in ARGS.items() if key != "use_cpu"}
    plain |= {"per_device_train_batch_size": 2, "steps_per_generation": 8, "use_cpu": config != "fsdp2"}
    runs = {}
    for geometry, layouts in LAYOUT_OF.items():
        runs[geometry] = {**plain, **GEOMETRIES[geometry], "micro_batches": "completions"}
        for layout in layouts:
            runs[f"{geometry}_{layout}"] = {**plain, **GEOMETRIES[geometry], **LAYOUTS[layout], **SMALL}
    return runs


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model")
    AutoModelForCausalLM.from_config(MODELS["llama"]()).save_pretrained(path)
    return str(path)


@pytest.fixture(scope="module", params=["ddp", "zero2", "zero3", "fsdp2"])
def found(request, model, tmp_path_factory):
    """The kind of launch, what each process found, the weights of all runs, and those before."""
    config, runs = request.param, runs_for(request.param)
    folder = tmp_path_factory.mktemp("run") / config
    ranks = launch(folder, 2, config, worker="micro_batch_worker.py", runs=runs, model=model)
    weights = {name: load_file(folder / f"{name}.safetensors") for name in runs}
    return config, ranks, weights, load_file(f"{model}/model.safetensors")


BOUND = {"ddp": 3e-6, "zero2": 3e-6, "zero3": 3e-6, "fsdp2": 3e-6}


@pytest.mark.parametrize(("geometry", "layout"), PAIRS)
def test_as_trls_micro_batches(geometry, layout, found):
    config, ranks, weights, before = found
    name = f"{geometry}_{layout}"
    own, other = weights[name], weights[geometry]
    assert own.keys() == other.keys()
    difference = max((own[part] - other[part]).abs().max().item() for part in own)
    moved = max((own[part] - before[part]).abs().max().item() for part in before)
    print("DIFF", config, name, difference, moved)
    assert moved > 1e-2 and difference < BOUND[config]
    for rank in ranks:
        assert unequal_metrics(*(Run([], {}, {}, rank[each]["logged"]) for each in (geometry, name))) == []


@pytest.mark.parametrize(("geometry", "layout"), PAIRS)
def test_passes(geometry, layout, found):
    config, ranks, *_ = found
    first, second = (rank[f"{geometry}_{layout}"] for rank in ranks)
    print("PASSES", config, geometry, layout, first["steps"], [r[geometry]["updates"] for r in ranks], first["updates"], second["updates"])
