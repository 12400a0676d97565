"""Memory and time in a plan: what is printed, and that the docs say the same."""

import json
import re
from pathlib import Path

import pytest
import torch
from launching import ROOT
from planned_run import planned
from recipe_files import ZERO3, plan_options


DOCS = (ROOT / "docs" / "guides" / "memory.md").read_text()
CONFIGS = ROOT / "accelerate_configs"


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
    block = re.search(r"```text\n(memory per GPU.*?)\n```", DOCS, re.DOTALL).group(1)
    assert block.replace("\n    ", " ") in planned(capsys, "qwen7b_curriculum.yaml", *ZERO3)


def test_gpus_and_processes_are_the_commands(capsys):
    eight = planned(capsys, "qwen7b_es.yaml", *ZERO3)
    assert "h100-80 (79.1 GiB), 8 GPUs, ZeRO-3, Qwen/Qwen2.5-7B (7.616 billion)" in eight
    assert "vLLM has a KV cache of 286,385 tokens on 1 GPU: 46 sequences of 6,144 tokens at once, of 512" in eight
    larger = planned(capsys, "qwen7b_es.yaml", *ZERO3, "--gpu", "h200", "--num_processes", "2")
    assert "h200 (139.7 GiB), 2 GPUs, ZeRO-3" in larger and "processes                                 2\n" in larger
    server = planned(capsys, "qwen7b_es.yaml", *ZERO3, "--vllm_mode", "server")
    assert "without generation on vLLM's server" in server and "KV cache" not in server


def test_a_launch_that_nothing_describes_is_not_refused(capsys):
    assert planned(capsys, "qwen7b_es.yaml").endswith(
        "no memory projection: the launch is not known: give --config_file accelerate_configs/zero3.yaml, or another "
        "config, or --num_processes\n\n"
    )
    eight = planned(capsys, "qwen7b_es.yaml", "--num_processes", "8")
    assert "8 GPUs, ZeRO-3" in eight and "the plan assumes ZeRO-3: give the launch's accelerate config" in eight
    assert "assumes" not in planned(capsys, "qwen7b_es.yaml", *ZERO3)


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
        (
            ["--optim", "adafactor"],
            "the projection covers optim adamw_torch and adamw_torch_fused, but the recipe has ada",
        ),
        (["--use_peft", "true", "--lora_target_modules", "lm_head"], "the projection does not cover LoRA on lm_head"),
        (["--use_peft", "true", "--use_dora", "true"], "the projection does not cover use_dora, which"),
        (["--load_in_8bit", "true"], "the projection does not cover load_in_8bit, which"),
    ],
)
def test_what_is_not_known_is_one_line(options, why, capsys):
    plan = planned(capsys, "qwen7b_es.yaml", *ZERO3, *options)
    assert plan.rstrip().splitlines()[-1].startswith(f"no memory projection: {why}") and "not measured" not in plan


def test_a_local_folder_gives_its_shape(tmp_path, capsys):
    sizes = {"model_type": "llama", "hidden_size": 2048, "num_hidden_layers": 16, "num_attention_heads": 32,
             "num_key_value_heads": 8, "head_dim": 64, "intermediate_size": 8192, "vocab_size": 128_256,
             "tie_word_embeddings": True}  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(sizes))
    assert "(1.236 billion)" in planned(capsys, "qwen7b_es.yaml", *ZERO3, "--model_name_or_path", str(tmp_path))


def test_other_layers_are_a_warning(tmp_path, capsys):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "qwen3_moe", "num_hidden_layers": 2}))
    plan = planned(capsys, "qwen7b_es.yaml", *ZERO3, "--model_name_or_path", str(tmp_path))
    assert "the projection assumes layers like Llama's, and the activations of qwen3_moe may need more" in plan


@pytest.mark.parametrize("options", [["--use_cpu"], ["--use_cpu=true"], ["--config_file", str(CONFIGS / "cpu.yaml")]])
def test_a_cpu_has_no_projection(options, capsys):
    assert "projected" not in planned(capsys, "qwen7b_es.yaml", *options)
