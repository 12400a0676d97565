"""Updates by tokens on two processes: TRL's weights and metrics, and as many forward passes on every process."""

import pytest
import torch
from compared_runs import Run, unequal_metrics
from equal_updates import ARGS, MODELS
from lab_runs import without_seconds
from launching import launch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM


pytestmark = pytest.mark.slow


pytest.importorskip("deepspeed")
# 16 completions per process in micro-batches of 2
PLAIN = {**ARGS, "per_device_train_batch_size": 2, "steps_per_generation": 8}
SMALL = {"max_tokens_per_micro_batch": 48}  # several micro-batches per update
LAYOUTS = {
    "packed": {"shared_prefixes": False, **SMALL},
    "shared": {"shared_prefixes": True, **SMALL},
    "trimmed": {"model_init_kwargs": {"dtype": "float32", "attn_implementation": "eager"}, **SMALL},
}
HALF = {"gradient_accumulation_steps": 4, "max_steps": 3}
KINDS = {
    "half": HALF,
    "each": {"gradient_accumulation_steps": 1, "steps_per_generation": 4, "max_steps": 5},
    "whole": {"gradient_accumulation_steps": 8, "max_steps": 2},  # without a pass for old log-probabilities
    "again": {**HALF, "num_iterations": 2, "beta": 0.1, "max_steps": 5, "loss_type": "grpo"},
    "uneven": {**HALF, "uneven": True},
}
RUNS = {
    "ddp": "half_packed half_shared half_trimmed each_packed whole_packed again_packed",
    "zero2": "whole_shared uneven_trimmed",
    "zero3": "again_packed uneven_shared",
    "fsdp2": "again_shared uneven_packed",
}
CASES = [(config, name) for config, names in RUNS.items() for name in names.split()]
SAVES = {**PLAIN, **HALF, **LAYOUTS["packed"], "optim": "adamw_torch", "learning_rate": 1e-3, "max_steps": 4}
SAVES |= {"save_strategy": "steps", "save_steps": 1}
GENERATES = {**PLAIN, "generates": True, "top_k": 0, "max_steps": 1, "gradient_accumulation_steps": 4}
OTHERS = {
    "saved": SAVES,
    "resumed": {**SAVES, "save_strategy": "no", "resume_from": "saved/checkpoint-1"},
    "resumed_later": {**SAVES, "save_strategy": "no", "resume_from": "saved/checkpoint-3"},
    "alone": {**GENERATES, "shared_prefixes": False},
    "prefilled": GENERATES,
}


def runs_of(config):
    runs = dict(OTHERS) if config == "ddp" else {}
    for name in RUNS[config].split():
        kind, layout = name.split("_")
        runs[kind] = {**PLAIN, **KINDS[kind], "micro_batches": "completions"}
        runs[name] = {**PLAIN, **KINDS[kind], **LAYOUTS[layout]}
    # fsdp_on_cpu.py keeps FSDP on the CPU, which accelerate must not know
    return {name: {**run, "use_cpu": config != "fsdp2"} for name, run in runs.items()}


@pytest.fixture(scope="module")
def launched(tmp_path_factory):
    """A function from the kind of launch to what each process found, the weights of all runs, and those before."""
    torch.manual_seed(0)
    model, known = tmp_path_factory.mktemp("model"), {}
    AutoModelForCausalLM.from_config(MODELS["llama"]()).save_pretrained(model)

    def found(config):
        if config not in known:
            folder, runs = tmp_path_factory.mktemp("launched") / config, runs_of(config)
            ranks = launch(folder, 2, config, worker="micro_batch_worker.py", runs=runs, model=str(model))
            known[config] = ranks, {name: load_file(folder / f"{name}.safetensors") for name in runs}
        return *known[config], load_file(model / "model.safetensors")

    return found


def furthest(one, other):
    """The largest difference of two sets of weights."""
    return max((one[name] - other[name]).abs().max().item() for name in one)


def counted(ranks, run, name):
    """A count per process and update of a run, `(processes, updates)`."""
    return torch.tensor([[update.get(name, 0) for update in rank[run]["updates"]] for rank in ranks])


@pytest.mark.parametrize(("config", "name"), CASES)
def test_weights_and_metrics_are_those_of_trls_micro_batches(config, name, launched):
    ranks, weights, before = launched(config)
    usual = name.split("_")[0]
    assert furthest(before, weights[usual]) > 1e-2
    assert furthest(weights[name], weights[usual]) < 6e-7
    for rank in ranks:  # only the first one logs
        logged = (Run([], {}, {}, rank[run]["logged"]) for run in (usual, name))
        assert unequal_metrics(*logged) == []
    by_rank = [without_seconds(rank[name]["records"]) for rank in ranks]
    assert by_rank[0] == by_rank[1]


@pytest.mark.parametrize(("config", "name"), CASES)
def test_as_many_passes_on_every_process_and_one_reduction_per_update(config, name, launched):
    ranks, *_ = launched(config)
    usual = name.split("_")[0]
    updates = KINDS[usual]["max_steps"]
    for kind in ("passes", "scoring"):
        first, second = counted(ranks, name, kind)
        assert torch.equal(first, second), kind
    first = counted(ranks, name, "passes")[0]
    assert len(first) == updates and first.min() >= 1
    for run in (usual, name):
        assert [rank[run]["steps"] for rank in ranks] == [updates if "zero" in config else None] * 2
    if config == "ddp":
        assert counted(ranks, name, "reduces").eq(1).all()
    if config == "fsdp2":  # two layers, the embedding and the rest
        assert counted(ranks, name, "scatters").eq(4).all()
    if usual == "whole":
        assert counted(ranks, name, "scoring").sum() == 0
    elif usual != "each":
        assert first.max() > 1


def imbalance(tokens):
    """The most tokens of a process over their mean, for each update."""
    return tokens.max(dim=0).values / tokens.float().mean(dim=0)


@pytest.mark.parametrize(("config", "name"), [("zero2", "uneven_trimmed"), ("fsdp2", "uneven_packed")])
def test_long_completions_move_to_the_process_with_short_ones(config, name, launched):
    ranks, *_ = launched(config)
    assert imbalance(counted(ranks, "uneven", "passes_tokens")).min() > 1.4
    assert imbalance(counted(ranks, name, "passes_tokens")).max() < 1.05


@pytest.mark.parametrize("name", ["resumed", "resumed_later"])
def test_resume_inside_a_rollout_with_moved_completions_loses_nothing(name, launched):
    ranks, weights, before = launched("ddp")
    assert furthest(weights["saved"], before) > 1e-3
    assert furthest(weights[name], weights["saved"]) == 0.0
    # the last row averages the loss over the updates since the resume
    logged = (Run([], {}, {}, ranks[0][run]["logged"][:-1]) for run in ("saved", name))
    assert unequal_metrics(*logged, 0.0, 0.0) == []
    assert without_seconds(ranks[0][name]["records"]) == without_seconds(ranks[0]["saved"]["records"])
    tokens, of_resumed = (counted(ranks, run, "passes_tokens") for run in ("saved", name))
    assert torch.equal(of_resumed, tokens[:, -of_resumed.shape[1] :])
    assert imbalance(tokens).max() < 1.1 < imbalance(counted(ranks, "half", "passes_tokens")).min()


def test_prompts_that_are_computed_once_change_no_completion(launched):
    ranks, *_ = launched("ddp")
    for rank in ranks:
        assert rank["prefilled"]["completions"] == rank["alone"]["completions"] != []
    # 16 completions of 4 prompts: the last token of a prompt is left to the next forward pass
    alone, prefilled = (counted(ranks, run, "first")[0, 0].item() for run in ("alone", "prefilled"))
    assert alone % 16 == 0 and prefilled == 4 * (alone // 16 - 1)
