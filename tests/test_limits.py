"""Runs that do not fit: what a plan refuses, with which setting, and what it warns of."""

import re
from dataclasses import replace

import pytest
from launching import ROOT
from planned_run import H100, LORA, SEVEN, planned, refused
from recipe_files import ZERO3

from es_trl.planning.limits import check_fits


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--per_device_train_batch_size", "32", "--steps_per_generation", "16", "--gradient_accumulation_steps", "1"],
         "stage 0 is projected to need 125.6 GiB per GPU in `backward` (h100-80 has 79.1 GiB), 104.1 GiB of it for "
         "activations and logits: set max_tokens_per_micro_batch to 92160"),
        (["--per_device_train_batch_size", "32", "--steps_per_generation", "16", "--gradient_accumulation_steps", "1",
          "--micro_batches", "completions"],
         "activations and logits: set per_device_train_batch_size to 8, and multiply steps_per_generation and "
         "gradient_accumulation_steps by 4"),
        (["--max_tokens_per_micro_batch", "200000"], "activations and logits: set max_tokens_per_micro_batch to 92160"),
        (["--gradient_checkpointing", "false"], "for activations and logits: set gradient_checkpointing: true"),
        (["--vllm_gpu_memory_utilization", "0.15"],
         "0.15 gives vLLM 11.9 GiB, but vLLM is projected to need 14.2 GiB for weights, 2.2 GiB for its work and 0.3 "
         "GiB for one sequence of 6,144 tokens: set vllm_gpu_memory_utilization to 0.22"),
        (["--vllm_gpu_memory_utilization", "0.9"], "of it for vLLM: set vllm_gpu_memory_utilization to 0.64"),
        (["--vllm_gpu_memory_utilization", "0.21", "--gpu", "a100-80"], "set vllm_gpu_memory_utilization to 0.22"),
        (["--vllm_gpu_memory_utilization", "0.8", "--vllm_enable_sleep_mode", "false"],
         "for vLLM: set vllm_enable_sleep_mode: true"),
        (["--vllm_gpu_memory_utilization", "0.3", "--gpu", "a100-40"],
         "raise vllm_tensor_parallel_size, so that more GPUs share vLLM's weights"),
        (["--num_processes", "1"],
         "for weights, gradients and optimizer: set use_peft: true, or train on more GPUs with --config_file "
         "accelerate_configs/zero3.yaml"),
        (["--use_vllm", "false"], "140.0 GiB of it for KV cache of generate: set use_vllm"),
        (["--vllm_tensor_parallel_size", "6"],
         "`vllm_tensor_parallel_size` must divide the 8 processes, got 6: set 2"),
        (["--steps_per_generation", "2048"],
         "per_device_train_batch_size x steps_per_generation x vllm_tensor_parallel_size must be at most 4,096 "
         "(sequences in TRL's vLLM), got 8,192: lower one of the three"),
        (["--gpu", "h1"], "--gpu must be one of a100-40, a100-80, h100-80, h200, got 'h1'"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_with_what_to_set(options, message, capsys):
    assert message in refused(capsys, "qwen7b_es.yaml", *ZERO3, *options)


def test_a_model_too_large_for_its_launch(capsys):
    said = refused(capsys, "qwen7b_es.yaml", "--config_file", str(ROOT / "accelerate_configs" / "ddp.yaml"))
    assert "70.9 GiB of it for weights, gradients and optimizer: shard the weights with --config_file acc" in said
    said = refused(capsys, "dapo32b_anneal.yaml", *ZERO3, "--num_processes", "8", "--steps_per_generation", "512",
                   "--gradient_accumulation_steps", "32")  # fmt: skip
    assert (
        "train on 32 GPUs with ZeRO-3 (--num_processes 32), and divide steps_per_generation and "
        "gradient_accumulation_steps by 4" in said
    )


@pytest.mark.parametrize(
    ("options", "change"),
    [
        (["--per_device_train_batch_size", "32", "--steps_per_generation", "16", "--gradient_accumulation_steps", "1"],
         ["--max_tokens_per_micro_batch", "92160"]),
        (["--per_device_train_batch_size", "32", "--steps_per_generation", "16", "--gradient_accumulation_steps", "1",
          "--micro_batches", "completions"],
         ["--per_device_train_batch_size", "8", "--steps_per_generation", "64", "--gradient_accumulation_steps", "4"]),
        (["--vllm_gpu_memory_utilization", "0.9"], ["--vllm_gpu_memory_utilization", "0.64"]),
        (["--vllm_gpu_memory_utilization", "0.15"], ["--vllm_gpu_memory_utilization", "0.22"]),
    ],
)  # fmt: skip
def test_the_number_that_is_named_is_enough_and_the_next_is_not(options, change, capsys):
    name, number = re.search(r"set (\w+) to ([\d.]+)", refused(capsys, "qwen7b_es.yaml", *ZERO3, *options)).groups()
    assert [f"--{name}", number] == change[:2]
    assert "warning" not in planned(capsys, "qwen7b_es.yaml", *ZERO3, *options, *change)


def test_a_budget_of_tokens_is_so_many_longest_completions(capsys):
    one = ["--per_device_train_batch_size", "1", "--steps_per_generation", "512", "--gradient_accumulation_steps", "32"]

    def activations(*options):
        plan = planned(capsys, "qwen7b_es.yaml", *ZERO3, *options)
        return re.search(r"^activations.*", plan, re.MULTILINE)[0], re.search(r"^logits.*", plan, re.MULTILINE)[0]

    assert activations("--max_tokens_per_micro_batch", "6144") == activations(*one) != activations()
    assert activations("--max_tokens_per_micro_batch", "6145") != activations(*one)
    assert activations("--max_tokens_per_micro_batch", str(4 * 6144)) == activations()
    assert activations("--max_tokens_per_micro_batch", "100") == activations(*one)  # a completion is not cut


def test_the_named_utilization_is_at_the_edge(capsys):
    options = ["qwen7b_es.yaml", *ZERO3, "--vllm_gpu_memory_utilization"]
    assert "warning" in planned(capsys, *options, "0.65") and "warning" not in planned(capsys, *options, "0.64")
    assert "for one sequence of 6,144 tokens" in refused(capsys, *options, "0.21")


def test_every_stage_counts():
    with pytest.raises(ValueError, match="stage 1 is .* in `backward`.*: set per_device_train_batch_size to 2, "):
        check_fits([SEVEN, replace(SEVEN, completion=30_000)], H100)
    # the number is that of the stage which needs most
    with pytest.raises(ValueError, match="stage 0 is .*: set per_device_train_batch_size to 1, "):
        check_fits([replace(SEVEN, completion=30_000), replace(SEVEN, completion=60_000)], H100)


@pytest.mark.parametrize(
    ("changes", "setting"),
    [
        ({"completion": 2_000_000}, "set a lower max_completion_length"),
        ({"shape": replace(SEVEN.shape, parameters=10**13)}, "take a larger GPU or a smaller model"),
        ({"adapter": LORA, "sharding": "none", "num_processes": 1, "engine": None, "generates": False,
          "shape": replace(SEVEN.shape, parameters=80 * 10**9)}, "train on 4 GPUs with ZeRO-3 (--num_processes 4)"),
    ],
)  # fmt: skip
def test_where_no_number_follows(changes, setting):
    with pytest.raises(ValueError, match=re.escape(setting)):
        check_fits([replace(SEVEN, **{"engine": None, "generates": False, **changes})], H100)


def test_near_the_limit_is_a_warning(capsys):
    assert check_fits([SEVEN], H100) == []
    (warning,) = check_fits([SEVEN, replace(SEVEN, engine=replace(SEVEN.engine, utilization=0.7))], H100)
    assert warning.startswith("stage 1 is projected to take 75.5 GiB per GPU in `generate` (h100-80 has 79.1 GiB)")
    plan = planned(capsys, "qwen7b_es.yaml", *ZERO3, "--vllm_gpu_memory_utilization", "0.7")
    assert f"warning: {warning.replace('stage 1', 'stage 0')}" in plan
