"""The recipes' scripts as people launch them."""

import json
import subprocess
import sys

import pytest
import torch
from launching import ROOT, environment
from tokenizers import Tokenizer, decoders, models
from tokenizers.pre_tokenizers import ByteLevel
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from es_trl.__main__ import main as cli
from es_trl.lab import BASE_MODEL, countdown_dataset
from es_trl.planning.model_shape import shape_of


pytestmark = pytest.mark.slow


def run_script(*command, cwd):
    settings = environment(HF_HUB_OFFLINE="1")
    return subprocess.run(command, cwd=cwd, env=settings, capture_output=True, text=True, timeout=300)


def test_countdown_recipe_runs_as_people_launch_it(tmp_path):
    launch = ["-m", "accelerate.commands.launch", "--config_file", str(ROOT / "accelerate_configs" / "cpu.yaml")]
    options = ["--max_steps", "16", "--per_device_train_batch_size", "8", "--save_steps", "8"]
    done = run_script(sys.executable, *launch, str(ROOT / "recipes" / "countdown_es.py"), *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "rollouts in the run                       2" in done.stdout
    run = tmp_path / "runs" / "countdown_es"
    assert len((run / "es_history.jsonl").read_text().splitlines()) == 2
    for file in ("es_curves.png", "README.md", "model.safetensors", "checkpoint-16/es_state.json"):
        assert (run / file).exists(), file
    (run / "es_curves.png").unlink()
    assert cli(["plot", str(run)]) == 0 and (run / "es_curves.png").exists()


def test_the_clips_recipe_runs_with_its_passes(tmp_path):
    options = ["--config", str(ROOT / "recipes" / "countdown_clip.yaml"), "--max_steps", "64"]
    options += ["--per_device_train_batch_size", "8"]
    done = run_script(sys.executable, str(ROOT / "recipes" / "countdown_es.py"), *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    records = [json.loads(line) for line in open(tmp_path / "runs" / "countdown_clip" / "es_history.jsonl")]
    assert len(records) == 2 and all(record["clip_high_fraction"] > 0.0 for record in records)


def test_countdown_recipe_takes_a_local_file_and_folder(tmp_path):

    countdown_dataset(8, seed=5).to_json(tmp_path / "prompts.jsonl")
    options = ["--max_steps", "8", "--per_device_train_batch_size", "8", "--dataset_name", "prompts.jsonl"]
    options += ["--model_name_or_path", BASE_MODEL, "--save_strategy", "no", "--output_dir", "run"]
    done = run_script(sys.executable, str(ROOT / "recipes" / "countdown_es.py"), *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len((tmp_path / "run" / "es_history.jsonl").read_text().splitlines()) == 1


@pytest.fixture(scope="session")
def tiny_qwen2(tmp_path_factory):
    """A random Qwen2 on disk with a byte-level tokenizer and a chat template."""
    vocabulary = {token: i for i, token in enumerate(["<pad>", "<eos>", *sorted(ByteLevel.alphabet())])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer, tokenizer.decoder = ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>")
    tokenizer.chat_template = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}assistant: "
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=len(tokenizer), hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, max_position_embeddings=2048, pad_token_id=0, eos_token_id=1,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("qwen2")
    Qwen2ForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def run_tiny(tiny_qwen2, tmp_path, *more):
    """Two updates of the 7B script on a CPU, with the tiny model and eight problems."""
    problems = [{"question": f"What is {i} + {i}?", "answer": f"It is {i} + {i}.\n#### {2 * i}"} for i in range(8)]
    (tmp_path / "problems.jsonl").write_text("".join(json.dumps(row) + "\n" for row in problems))
    options = ["--model_name_or_path", str(tiny_qwen2), "--dtype", "float32", "--dataset_name", "problems.jsonl"]
    options += ["--prompt_column", "question", "--answer_column", "answer", "--use_vllm", "false", "--bf16", "false"]
    options += ["--use_cpu", "true", "--per_device_train_batch_size", "4", "--gradient_accumulation_steps", "2"]
    options += ["--steps_per_generation", "4", "--max_completion_length", "16", "--max_steps", "2", "--save_steps", "2"]
    done = run_script(sys.executable, str(ROOT / "recipes" / "qwen7b_es.py"), *options, *more, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_qwen7b_recipe_makes_two_updates(tiny_qwen2, tmp_path):
    run_tiny(tiny_qwen2, tmp_path)
    run = tmp_path / "runs" / "qwen7b_es"
    (record,) = [json.loads(line) for line in (run / "es_history.jsonl").read_text().splitlines()]
    # entropy is far above the target, so the bonus begins below 0
    assert -1.0 < record["settings"]["entropy_bonus"] < 0.0 and record["target"] == 0.4
    # a random policy over 258 tokens is nearly uniform, and answers nothing
    assert record["entropy"] == pytest.approx(5.55, abs=0.05) and record["reward"] == -1.0
    assert (run / "checkpoint-2" / "es_state.json").exists() and "ES-GRPO" in (run / "README.md").read_text()


def test_the_lora_recipe_trains_its_adapter(tiny_qwen2, tmp_path):
    run_tiny(tiny_qwen2, tmp_path, "--config", str(ROOT / "recipes" / "qwen7b_lora.yaml"))
    run = tmp_path / "runs" / "qwen7b_lora"
    adapter = json.loads((run / "adapter_config.json").read_text())
    assert (adapter["r"], adapter["lora_alpha"], adapter["lora_dropout"]) == (32, 64, 0.0)
    maps = {name.rpartition(".")[2] for name in adapter["target_modules"]}
    assert maps == set(shape_of("Qwen/Qwen2.5-7B").linears)  # what a plan counts
    assert len((run / "es_history.jsonl").read_text().splitlines()) == 1
