import os


os.environ["OMP_NUM_THREADS"] = "1"  # before torch: two threads on two shared cores are many times slower
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import pytest
import torch
from browsing import browser  # noqa: F401, for pytest
from fast_tier import pytest_runtest_call, pytest_runtest_setup  # noqa: F401, for pytest
from lab_runs import LAB_ARGS
from transformers import PreTrainedModel

from es_trl import ESGRPOConfig, ESGRPOTrainer
from es_trl.lab import BASE_MODEL, countdown_dataset, countdown_reward
from es_trl.trainer import pushing_trainer
from es_trl.trainer.last_page import write_page


torch.set_num_threads(1)


def pytest_collection_modifyitems(items):
    """Begin with the files that have slow tests, so that two workers end together."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session", autouse=True)
def without_pages():
    """Let runs end without their page, which takes longer than a short run; `with_pages` brings it back."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pushing_trainer, "write_page", lambda run_dir: False)
        yield


@pytest.fixture
def with_pages(monkeypatch):
    """Let the runs of a test end with their page."""
    monkeypatch.setattr(pushing_trainer, "write_page", write_page)


@pytest.fixture
def no_weights_load(monkeypatch):
    """Fail a test in which weights load."""

    def loads(*args, **kwargs):
        pytest.fail("weights have been loaded")

    monkeypatch.setattr(PreTrainedModel, "from_pretrained", loads)


@pytest.fixture
def lab_args(tmp_path):
    """A function that makes an `ESGRPOConfig` for the lab, with changes; `...` leaves a field out."""

    def make(config_class=ESGRPOConfig, **changes):
        values = {"output_dir": str(tmp_path / "run"), **LAB_ARGS, **changes}
        return config_class(**{name: value for name, value in values.items() if value is not ...})

    return make


@pytest.fixture
def lab_trainer(lab_args):
    """A function that makes a trainer on the lab, with changes of its configuration."""

    def make(trainer_class=ESGRPOTrainer, args=None, callbacks=None, reward=countdown_reward, prompts=64, **changes):
        return trainer_class(
            BASE_MODEL,
            reward,
            args or lab_args(**changes),
            train_dataset=countdown_dataset(prompts, seed=1),
            callbacks=callbacks,
        )

    return make
