"""The prompts and the config of the SmolLM2 recipes where they look for them, without weights, for tests."""

import pytest
from judged_here import Here
from transformers import LlamaConfig

from es_trl.lab.word_sums import write_word_sums
from es_trl.rewards import golds


CONFIG = LlamaConfig(
    vocab_size=49152,
    hidden_size=576,
    intermediate_size=1536,
    num_hidden_layers=30,
    num_attention_heads=9,
    num_key_value_heads=3,
    max_position_embeddings=8192,
    tie_word_embeddings=True,
)


@pytest.fixture
def in_smollm_folder(tmp_path, monkeypatch):
    """Run the test in a folder with `models/smollm2`, which has the prompts of the recipes, a config and no weights."""
    folder = tmp_path / "models" / "smollm2"
    folder.mkdir(parents=True)
    write_word_sums(folder)
    CONFIG.save_pretrained(folder)
    monkeypatch.setattr(
        golds, "workers", Here
    )  # answers that were not judged on this machine yet would start a process
    monkeypatch.chdir(tmp_path)
    return folder
