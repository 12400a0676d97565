"""The task of the SmolLM2 recipes where they look for it, without the model, for tests."""

import pytest
from judged_here import Here

from es_trl.lab.word_sums import write_word_sums
from es_trl.rewards import golds


@pytest.fixture
def in_smollm_folder(tmp_path, monkeypatch):
    """Run the test in a folder with `models/smollm2`, which has the prompts of the recipes and no weights."""
    folder = tmp_path / "models" / "smollm2"
    folder.mkdir(parents=True)
    write_word_sums(folder)
    monkeypatch.setattr(
        golds, "workers", Here
    )  # answers that were not judged on this machine yet would start a process
    monkeypatch.chdir(tmp_path)
    return folder
