"""An evaluation whose completions come from vLLM."""

import json

import cpu_engine
import peft
import pytest
import torch
from evaluations import lab_settings, outputs, samples_of
from transformers import AutoModelForCausalLM, AutoTokenizer

from es_trl.evaluation import evaluate
from es_trl.evaluation.models import ModelFiles
from es_trl.evaluation.sampling import Sampling
from es_trl.evaluation.vllm_sampling import VLLMSampler
from es_trl.lab import BASE_MODEL


OPTIONS = {"dtype": "float32", "enforce_eager": True, "kv_cache_memory_bytes": cpu_engine.CACHE_BYTES}


@pytest.fixture
def engines(monkeypatch):
    """Engines in the precision of transformers, one per model and test."""
    made = {}

    def sampler(settings, files, longest):
        sampling = Sampling(settings.temperature, settings.top_p, settings.max_new_tokens)
        if (key := (files.name, sampling)) not in made:
            made[key] = VLLMSampler(files, sampling, longest, OPTIONS)
        return made[key]

    monkeypatch.setattr("es_trl.evaluation.evaluating._sampler", sampler)


def test_an_evaluation_and_its_restart(engines, tmp_path):
    settings = lab_settings(backend="vllm", batch_size=16)
    found = evaluate(settings, tmp_path / "a")
    whole = outputs(tmp_path / "a")
    assert found.tokens == pytest.approx(6, abs=1) and found.truncated == 0.0 and 0 < sum(found.correct) < 32
    for sample in samples_of(tmp_path / "a"):
        assert sample["tokens"] == len(sample["completion"]) + 1
    texts = [[s["completion"] for s in samples_of(tmp_path / "a") if s["problem"] == row] for row in range(8)]
    assert max(len(set(each)) for each in texts) > 1, "completions of a prompt are drawn one by one"
    path = tmp_path / "a" / "samples.jsonl"
    path.write_bytes(path.read_bytes()[:1000])
    evaluate(settings, tmp_path / "a")
    assert outputs(tmp_path / "a") == whole
    evaluate(lab_settings(backend="vllm", batch_size=16, seed=1), tmp_path / "b")
    assert outputs(tmp_path / "b")[0] != whole[0]


def test_greedy_completions_and_adapters_are_those_of_transformers(tmp_path):
    """At temperature 0 both engines take the likeliest token, with the base model and with an adapter."""
    model = AutoModelForCausalLM.from_pretrained(BASE_MODEL, dtype=torch.float32)
    torch.manual_seed(0)
    adapted = peft.get_peft_model(model, peft.LoraConfig(r=4, target_modules=["q_proj", "v_proj"]))
    for name, values in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(values, std=0.3)
    adapted.save_pretrained(tmp_path / "adapter")
    tokenizer = AutoTokenizer.from_pretrained(BASE_MODEL)
    tokenizer.save_pretrained(tmp_path / "adapter")
    prompts = tokenizer(["3 5 2=17:", "1 1 9=9:", "7 7 7=7:"])["input_ids"]
    from es_trl.evaluation.sampling import TransformersSampler

    files, sampling = ModelFiles.of(str(tmp_path / "adapter")), Sampling(0.0, 1.0, 8)
    expected = TransformersSampler(files.load(), tokenizer, sampling).sample(prompts, 2, 0)
    made = VLLMSampler(files, sampling, max(map(len, prompts)), OPTIONS).sample(prompts, 2, 0)
    assert json.dumps([each.text for each in made]) == json.dumps([each.text for each in expected])
    assert [each.ids for each in made] == [each.ids for each in expected]
