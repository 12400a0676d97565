"""The engine samples with the weights that are trained, in colocate mode."""

import pytest
import torch
from conftest import EXACT, STALE
from peft import LoraConfig
from trl.generation.vllm_generation import VLLMGeneration


ADAPTER = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
# one update a rollout; an adapter moves the policy less
EVERY_UPDATE = {"steps_per_generation": 1, "max_steps": 12}
SIZES = pytest.mark.parametrize(
    ("peft_config", "learning_rate"), [(None, 5e-3), (ADAPTER, 2e-2)], ids=["all_weights", "adapter"]
)


def differences(trainer):
    return [record["logp_difference"] for record in trainer.history.records]


@SIZES
def test_every_update_reaches_the_engine(peft_config, learning_rate, vllm_trainer):
    trainer = vllm_trainer(peft_config=peft_config, learning_rate=learning_rate, **EVERY_UPDATE)
    before = {name: weight.detach().clone() for name, weight in trainer.model.named_parameters()}
    trainer.train()
    assert len(differences(trainer)) == 12 and max(differences(trainer)) < EXACT
    logged = [line[key] for line in trainer.state.log_history for key in line if key.endswith("logp_difference/mean")]
    assert logged == differences(trainer)
    # adapters are merged for the engine and taken out again, which rounds the weights under them
    still = {n for n, weight in trainer.model.named_parameters() if torch.allclose(weight, before[n], atol=1e-6)}
    assert still == {name for name in before if peft_config is not None and "lora_" not in name}


@SIZES
def test_without_the_sync_they_drift_apart(peft_config, learning_rate, vllm_trainer, monkeypatch):
    trainer = vllm_trainer(peft_config=peft_config, learning_rate=learning_rate, **EVERY_UPDATE)
    trainer.vllm_generation.sync_weights()
    monkeypatch.setattr(VLLMGeneration, "sync_weights", lambda self: None)
    trainer.train()
    assert differences(trainer)[0] < EXACT and max(differences(trainer)) > STALE


def test_a_second_run_begins_with_the_weights_of_the_first(vllm_trainer):
    trainer = vllm_trainer(max_steps=4, learning_rate=5e-3)  # a run of one rollout
    trainer.train()
    first = trainer.history.records[0]
    trainer.train()
    second = trainer.history.records[0]
    assert second["logp_difference"] < EXACT and second["entropy"] != first["entropy"]
