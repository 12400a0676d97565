"""The projections of a plan, beside what one GPU measured: the committed record of the update phase on an H100."""

import math
import sys
from dataclasses import replace
from statistics import mean

import pytest
import torch
from accelerate import Accelerator
from launching import ROOT
from planned_run import H100, SEVEN

from es_trl import ESGRPOConfig
from es_trl.micro_batches.plan import Budget, make_plan
from es_trl.planning.memory import memory_of, totals
from es_trl.planning.model_shape import shape_of
from es_trl.planning.summary import rollout_time
from es_trl.trainer.micro_batches import costs_on


sys.path.insert(0, str(ROOT / "benchmarks"))

import update_phase  # noqa: E402
from injected import config_of  # noqa: E402
from update_phase_report import load, seconds  # noqa: E402


NAME = "1.5B, 4k"
CASE = update_phase.GPU_CASES[NAME]
GIB = 2**30


@pytest.fixture(scope="module")
def records():
    found = load(update_phase.RESULTS / "runs.jsonl")
    return {variant: record for (case, variant), record in found.items() if case == NAME}


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """The work of TRL's micro-batches: bf16 weights, one process, padded to the longest prompt and completion."""
    folder = tmp_path_factory.mktemp("model")
    config_of(CASE.shape, 2 * (CASE.longest + CASE.prompt)).save_pretrained(folder)
    return replace(
        SEVEN, shape=shape_of(str(folder)), sharding="none", num_processes=1, micro_batch=CASE.micro_batch, engine=None,
        prompt=max(CASE.prompt_lengths()), completion=CASE.longest, sequences=CASE.completions, generates=False,
    )  # fmt: skip


def test_the_peak_of_memory(records, work):
    memory = memory_of(work, H100.memory * GIB)
    projected = max(totals({part: sizes for part, sizes in memory.items() if part != "overhead"}).values())
    assert projected / GIB == pytest.approx(15.8, abs=0.1)
    # the allocator's peak has no CUDA context, which the overhead stands for
    assert records["trl"]["peak"] / projected == pytest.approx(1.02, abs=0.02)
    assert records["es_trl"]["peak"] < projected


def test_the_time_of_the_updates(records, work, tmp_path):
    micro_batches = CASE.completions // CASE.micro_batch
    args = ESGRPOConfig(
        str(tmp_path),
        per_device_train_batch_size=CASE.micro_batch,
        gradient_accumulation_steps=micro_batches // CASE.updates,
        steps_per_generation=micro_batches,
        use_cpu=True,
        bf16=False,
    )
    padded = replace(work, prompt=2 * work.prompt)  # the projection counts half of the longest prompt
    time = rollout_time(padded, H100, args)
    assert time.scoring > 0.0
    assert seconds(records["trl"]) / (time.scoring + time.updates) == pytest.approx(1.11, abs=0.01)


def test_padding_is_what_makes_trl_slow(records):
    tokens = CASE.completions * (max(CASE.prompt_lengths()) + CASE.longest)
    assert tokens / records["trl"]["tokens"] == pytest.approx(4.1, abs=0.05)
    assert records["es_trl"]["hardware"] == "NVIDIA H100 80GB HBM3"
    # cuDNN's attention broke the gradients of one padded micro-batch, of 960 tokens, which es_trl's own path avoids
    assert all(map(math.isnan, records["trimmed"]["gradient_norms"]))
    assert not any(map(math.isnan, records["es_trl"]["gradient_norms"]))


@pytest.fixture(scope="module")
def costs(work):
    return costs_on("cuda", work.shape.parameters, work.shape.layers, work.shape.hidden)


def plan_of(costs, *layouts):
    """The plan of the case's rollout, in the order in which TRL shuffled it."""
    torch.manual_seed(0)
    prompts, order = torch.arange(CASE.completions) // CASE.per_prompt, torch.randperm(CASE.completions)
    facts = [torch.tensor(CASE.prompt_lengths())[prompts], torch.tensor(CASE.completion_lengths()), prompts]
    budget = Budget(None, CASE.micro_batch, CASE.longest, costs, layouts)
    return make_plan(torch.stack(facts, dim=1), order.argsort(), CASE.updates, budget, Accelerator(cpu=True)), order


def test_the_costs_by_which_micro_batches_are_cut(records, costs):
    plan, order = plan_of(costs, "shared")  # with the costs of that time, es_trl chose this layout
    own = costs.micro_batch + costs.attention  # of one of TRL's micro-batches
    whole = (
        torch.tensor(CASE.completion_lengths()),
        torch.tensor(CASE.prompt_lengths()).repeat_interleave(CASE.per_prompt),
    )
    lengths = torch.stack(whole)[:, order].view(2, -1, CASE.micro_batch)
    trimmed = CASE.micro_batch * lengths.amax(dim=2).sum(dim=0)
    assert 960 * CASE.micro_batch in trimmed.tolist()
    micro_batches = len(trimmed)
    padded = CASE.completions * (max(CASE.prompt_lengths()) + CASE.longest)
    tokens = {
        "trl": padded + micro_batches * own,
        "trimmed": int(trimmed.sum()) + micro_batches * own,
        "limit": records["limit"]["tokens"] + micro_batches * own,
        "es_trl": plan.tokens,
    }
    found = {variant: seconds(records[variant]) / number for variant, number in tokens.items()}
    assert mean(found.values()) == pytest.approx(49e-6, abs=1e-6)  # seconds per token
    assert {variant: each / mean(found.values()) for variant, each in found.items()} == pytest.approx(
        dict.fromkeys(found, 1.0), abs=0.07
    )


def test_a_row_without_shared_prompts_is_expected_to_be_faster(costs):
    plan, _ = plan_of(costs, "packed", "shared", "trimmed")
    shared, _ = plan_of(costs, "shared")
    assert plan.layout == "packed" and plan.tokens / shared.tokens == pytest.approx(0.71, abs=0.01)
