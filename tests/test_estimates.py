"""Memory and time in a plan: what is printed, what is refused and with which change, and that the docs say the same."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from launching import ROOT
from planned_run import H100, QWEN_7B, SEVEN
from recipe_files import ZERO3, plan_options

from es_trl.__main__ import main as cli
from es_trl.planning.fit import check_fit, near_limit
from es_trl.planning.gpus import GPUS, Launch, read_launch
from es_trl.planning.memory import GiB, cache_tokens
from es_trl.planning.model_shape import NoEstimateError
from es_trl.planning.throughput import generation_time, rollout_time


DOCS = (ROOT / "docs" / "memory.md").read_text()
CONFIGS = ROOT / "accelerate_configs"


def planned(capsys, recipe, *options):
    assert cli(["plan", str(ROOT / "recipes" / recipe), *options]) == 0, capsys.readouterr().err
    return capsys.readouterr().out


def refused(capsys, recipe, *options):
    assert cli(["plan", str(ROOT / "recipes" / recipe), *options]) == 1
    printed = capsys.readouterr()
    assert printed.out == "" and len(printed.err.splitlines()) == 1
    return printed.err


def documented_launches():
    block = re.search(r"```bash\n# not run: [^\n]*\n(# 1\n.*?)```", DOCS, re.DOTALL).group(1)
    commands = dict(re.findall(r"# (\d+).*\n((?:.*\\\n)*.*\n)", block))
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in DOCS.splitlines()]
    rows = {row[0]: row for row in rows if len(row) == 7 and row[0] in commands}
    assert len(rows) == len(commands) == 11
    return [pytest.param(commands[number], *rows[number][1:], id=number) for number in commands]


@pytest.mark.parametrize(("command", "recipe", "on", "generate", "train", "rollout", "run"), documented_launches())
def test_the_table_of_the_docs(command, recipe, on, generate, train, rollout, run, capsys):
    recipe_file, *options = plan_options(command.replace("\\\n", " "))
    assert recipe == f"`{Path(recipe_file).stem}`"
    plan = planned(capsys, Path(recipe_file).name, *options)
    sums = [[float(cell) for cell in line.split()[2:]] for line in plan.splitlines() if line.startswith("in all")]
    assert f"{max(own[0] for own in sums):.1f}" == generate and f"{max(max(own[1:]) for own in sums):.1f}" == train
    times = [re.split(r"  +", line) for line in plan.splitlines() if re.match(r"stage \d  ", line)]
    assert " and ".join(row[4] for row in times) == rollout
    assert f"the run: {run}\n" in plan and f", {on}, " in plan
    assert "updates per rollout                       16\n" in plan and "warning" not in plan


def test_the_plan_that_the_docs_print(capsys):
    block = re.search(r"```\n(memory of each GPU.*?)\n```", DOCS, re.DOTALL).group(1)
    assert block in planned(capsys, "qwen7b_curriculum.yaml", *ZERO3)


def test_gpus_and_processes_are_the_commands(capsys):
    eight = planned(capsys, "qwen7b_es.yaml", *ZERO3)
    assert "h100-80 (79.1 GiB), 8 GPUs, ZeRO-3, Qwen/Qwen2.5-7B (7.616 billion)" in eight
    assert "vLLM has a KV cache of 286,385 tokens on 1 GPU: 46 sequences of 6,144 tokens at once, of 512" in eight
    larger = planned(capsys, "qwen7b_es.yaml", *ZERO3, "--gpu", "h200", "--num_processes", "2")
    assert "h200 (139.7 GiB), 2 GPUs, ZeRO-3" in larger and "processes                                 2\n" in larger
    server = planned(capsys, "qwen7b_es.yaml", *ZERO3, "--vllm_mode", "server")
    assert "a server's" in server and "KV cache" not in server


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--per_device_train_batch_size", "32", "--steps_per_generation", "16", "--gradient_accumulation_steps", "1"],
         "stage 0 needs 125.6 GiB of each GPU's 79.1 in `backward`, 104.1 of them for activations: set "
         "per_device_train_batch_size to 8, and steps_per_generation and gradient_accumulation_steps to 4 times"),
        (["--gradient_checkpointing", "false"], "for activations: set gradient_checkpointing: true"),
        (["--vllm_gpu_memory_utilization", "0.15"],
         "0.15 is a share of 11.9 GiB, and the engine takes 14.2 for weights and 2.2 beside them: set "
         "vllm_gpu_memory_utilization to 0.25"),
        (["--vllm_gpu_memory_utilization", "0.9"], "71.2 of them for vLLM: set vllm_gpu_memory_utilization to 0.6"),
        (["--vllm_gpu_memory_utilization", "0.21", "--gpu", "a100-80"],
         "has a cache of 4,974 tokens, and a sequence of its vllm_max_model_length has 6,144: set "
         "vllm_gpu_memory_utilization to 0.25"),
        (["--num_processes", "1"], "for optimizer: train an adapter (use_peft: true, lora_target_modules: all-linear"),
        (["--use_vllm", "false"], "140.0 of them for KV cache of generate: set use_vllm: true"),
        (["--vllm_tensor_parallel_size", "3"], "there are 8 processes, which engines of as many GPUs share: set it to"),
        (["--steps_per_generation", "2048"], "vllm_tensor_parallel_size = 8,192: lower one of the three"),
        (["--gpu", "h1"], "--gpu is 'h1': set it to a100-40, a100-80, h100-80, h200"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_with_what_to_set(options, message, capsys):
    assert message in refused(capsys, "qwen7b_es.yaml", *ZERO3, *options)


def test_a_launch_that_nothing_describes_is_not_refused(capsys):
    assert planned(capsys, "qwen7b_es.yaml").endswith(
        "no memory estimate: name the launch's accelerate config, for example --config_file "
        "accelerate_configs/zero3.yaml, or give --num_processes\n\n"
    )
    eight = planned(capsys, "qwen7b_es.yaml", "--num_processes", "8")
    assert "8 GPUs, ZeRO-3" in eight and "ZeRO-3 is assumed: name the launch's accelerate config" in eight
    assert "is assumed" not in planned(capsys, "qwen7b_es.yaml", *ZERO3)


def test_a_model_too_large_for_plain_data_parallelism(capsys):
    said = refused(capsys, "qwen7b_es.yaml", "--config_file", str(CONFIGS / "ddp.yaml"))
    assert "shard the weights (--config_file accelerate_configs/zero3.yaml), which needs about 51.8 GiB" in said
    said = refused(capsys, "dapo32b_anneal.yaml", *ZERO3, "--num_processes", "8", "--steps_per_generation", "512",
                   "--gradient_accumulation_steps", "32")  # fmt: skip
    assert "train on 32 GPUs with ZeRO-3 (--config_file accelerate_configs/zero3_multinode.yaml --num_proc" in said


@pytest.mark.parametrize(
    ("options", "change"),
    [
        (["--per_device_train_batch_size", "32", "--steps_per_generation", "16", "--gradient_accumulation_steps", "1"],
         ["--per_device_train_batch_size", "8", "--steps_per_generation", "64", "--gradient_accumulation_steps", "4"]),
        (["--vllm_gpu_memory_utilization", "0.9"], ["--vllm_gpu_memory_utilization", "0.6"]),
        (["--vllm_gpu_memory_utilization", "0.15"], ["--vllm_gpu_memory_utilization", "0.25"]),
        (["--num_processes", "1", "--dtype", "bfloat16"],
         ["--use_peft", "true", "--lora_target_modules", "all-linear", "--lora_r", "32", "--lora_dropout", "0"]),
        (["--use_vllm", "false"],
         ["--use_vllm", "true", "--vllm_gpu_memory_utilization", "0.4", "--vllm_max_model_length", "5120"]),
    ],
)  # fmt: skip
def test_the_change_that_is_named_is_enough(options, change, capsys):
    said = refused(capsys, "qwen7b_es.yaml", *ZERO3, *options)
    promised = re.search(r"which needs about ([\d.]+) GiB", said).group(1)
    plan = planned(capsys, "qwen7b_es.yaml", *ZERO3, *options, *change)
    (sums,) = [line.split()[2:] for line in plan.splitlines() if line.startswith("in all")]
    assert max(sums, key=float) == promised and "warning" not in plan


def test_no_single_change_is_enough():
    with pytest.raises(ValueError, match="no single change makes it fit: take more processes or a larger GPU"):
        check_fit([replace(SEVEN, completion=2_000_000)], H100)
    check_fit([SEVEN], H100)


def test_near_the_limit_is_a_warning(capsys):
    assert near_limit([SEVEN], H100) == []
    (warning,) = near_limit([SEVEN, replace(SEVEN, engine=replace(SEVEN.engine, utilization=0.7))], H100)
    assert warning.startswith("by estimate, stage 1 takes 75.5 of 79.1 GiB in `generate`")
    plan = planned(capsys, "qwen7b_es.yaml", *ZERO3, "--vllm_gpu_memory_utilization", "0.7")
    assert f"warning: {warning.replace('stage 1', 'stage 0')}" in plan


@pytest.mark.parametrize(
    ("options", "warns"),
    [(["--dtype", "bfloat16"], True), ([], False), (["--dtype", "bfloat16", "--learning_rate", "1e-3"], False)],
)
def test_weights_without_an_fp32_copy_are_a_warning(options, warns, capsys):
    plan = planned(capsys, "qwen1_5b_es.yaml", "--num_processes", "1", *options)
    assert ("round to nothing: set dtype: float32, or launch with DeepSpeed or FSDP" in plan) == warns


@pytest.mark.parametrize(("rate", "share"), [(1e-6, 0.02), (1e-5, 0.15)])
def test_bf16_weights_without_an_fp32_copy_hardly_move(rate, share):
    torch.manual_seed(0)
    weights = torch.nn.Parameter((torch.randn(1_000_000) * 0.02).bfloat16())
    before = weights.detach().clone()
    optimizer = torch.optim.AdamW([weights], lr=rate, weight_decay=0.0)
    for _ in range(16):
        weights.grad = torch.randn(1_000_000).bfloat16()
        optimizer.step()
    assert (weights != before).float().mean().item() == pytest.approx(share, rel=0.1)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--model_name_or_path", "no/such"], "the config of no/such cannot be read"),
        (["--optim", "adafactor"], "optim adafactor is not known, adamw_torch and adamw_torch_fused are"),
        (["--use_peft", "true", "--lora_target_modules", "lm_head"], "LoRA on lm_head is not known"),
        (["--use_peft", "true", "--use_dora", "true"], "the recipe sets use_dora"),
        (["--load_in_8bit", "true"], "the recipe sets load_in_8bit"),
    ],
)
def test_what_is_not_known_is_one_line(options, why, capsys):
    plan = planned(capsys, "qwen7b_es.yaml", *ZERO3, *options)
    assert plan.rstrip().splitlines()[-1].startswith(f"no memory estimate: {why}") and "not measured" not in plan


def test_a_local_folder_gives_its_shape(tmp_path, capsys):
    sizes = {"model_type": "llama", "hidden_size": 2048, "num_hidden_layers": 16, "num_attention_heads": 32,
             "num_key_value_heads": 8, "head_dim": 64, "intermediate_size": 8192, "vocab_size": 128_256,
             "tie_word_embeddings": True}  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(sizes))
    assert "(1.236 billion)" in planned(capsys, "qwen7b_es.yaml", *ZERO3, "--model_name_or_path", str(tmp_path))


@pytest.mark.parametrize("options", [["--use_cpu"], ["--use_cpu=true"], ["--config_file", str(CONFIGS / "cpu.yaml")]])
def test_a_cpu_has_no_estimate(options, capsys):
    assert "estimate" not in planned(capsys, "qwen7b_es.yaml", *options)


@pytest.mark.parametrize(
    ("config", "processes", "expected"),
    [
        ({"distributed_type": "DEEPSPEED", "deepspeed_config": {"zero_stage": 2}}, 4, Launch(4, "zero2")),
        ({"distributed_type": "FSDP", "fsdp_config": {"fsdp_version": 2}}, None, Launch(8, "fsdp")),
        ({"distributed_type": "MULTI_GPU"}, 1, Launch(1, "none")),
        ({"distributed_type": "MULTI_GPU"}, None, Launch(8, "ddp")),
        ({"distributed_type": "NO", "use_cpu": True}, None, Launch(8, "none", on_cpu=True)),
    ],
)
def test_launches(config, processes, expected, tmp_path):
    path = tmp_path / "accelerate.yaml"
    path.write_text(yaml.safe_dump({"num_processes": 8, **config}))
    assert read_launch(str(path), processes) == expected


@pytest.mark.parametrize(
    ("config", "error", "message"),
    [
        ({"distributed_type": "DEEPSPEED", "deepspeed_config": {"zero_stage": 1}}, NoEstimateError, "zero_stage .* 1,"),
        ({"distributed_type": "DEEPSPEED", "deepspeed_config": {"zero_stage": 3, "offload_optimizer_device": "cpu"}},
         NoEstimateError, "offload_optimizer_device .* moves a part out of the GPU"),
        ({"distributed_type": "FSDP", "fsdp_config": {"fsdp_reshard_after_forward": False}}, NoEstimateError, "full"),
        ({"distributed_type": "MEGATRON_LM"}, NoEstimateError, "distributed_type MEGATRON_LM"),
        ({"num_processes": 0}, ValueError, "it needs num_processes, 1 or more"),
    ],
)  # fmt: skip
def test_launches_that_are_not_known(config, error, message, tmp_path):
    path = tmp_path / "accelerate.yaml"
    path.write_text(yaml.safe_dump({"num_processes": 8, **config}))
    with pytest.raises(error, match=message):
        read_launch(str(path), None)


def test_accelerate_config_that_is_missing():
    with pytest.raises(ValueError, match="no/such.yaml does not exist: give --config_file one of accelerate_configs/"):
        read_launch("no/such.yaml", None)


def test_times_by_hand():
    times = rollout_time(SEVEN, H100, scoring_passes=2, iterations=3)
    # 512 completions of 1,024 + 4,096 tokens; 2 N operations and attention to 5,120 tokens in 28 layers of 3,584
    forward = 512 * 5120 * (2 * 7_615_616_512 + 4 * 28 * 3584 * 5120) / (0.4 * 989e12)
    assert times.scoring == pytest.approx(2 * forward) and times.updates == pytest.approx(3 * 4 * forward)
    assert times.total == times.generation + times.scoring + times.updates
    bare = rollout_time(replace(SEVEN, checkpointing=False), H100, 1, 1)
    assert bare.updates == pytest.approx(3 * forward)


def test_generation_by_hand():
    # 1,024 + 2,048 / 2 tokens of a completion are in the cache, on average; 286,385 tokens hold 139.8 of the 512
    batch = cache_tokens(SEVEN, 79.1 * GiB) / 2048
    reading = (2 * 7_615_616_512 + batch * 2048 * QWEN_7B.kv_bytes) / (0.6 * 3.35e12)
    steps = 512 * 2048 / batch
    prompts = 512 * 1024 * (2 * 7_615_616_512 + 4 * 28 * 3584 * 1024) / (0.4 * 989e12)
    assert steps > 4096
    assert generation_time(SEVEN, H100) == pytest.approx(steps * reading + prompts)
    # one sequence has as many steps as its longest has tokens, and reads the weights in each
    alone = generation_time(replace(SEVEN, sequences=1), H100)
    read = (2 * 7_615_616_512 + 2048 * QWEN_7B.kv_bytes) / (0.6 * 3.35e12)
    assert alone == pytest.approx(4096 * read + prompts / 512)
    assert generation_time(replace(SEVEN, generates=False, engine=None), H100) is None
    assert generation_time(SEVEN, GPUS["h200"]) < generation_time(SEVEN, H100)
