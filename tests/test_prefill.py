"""A generation computes each prompt once, and writes the same completions."""

import pytest
import torch
from lab_runs import without_seconds
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from es_trl.lab import BASE_MODEL, countdown_dataset
from es_trl.micro_batches.prefill import prompts_once


@pytest.fixture(scope="module")
def policy():
    return AutoModelForCausalLM.from_pretrained(BASE_MODEL).float().eval(), AutoTokenizer.from_pretrained(BASE_MODEL)


def prompts_of(tokenizer, copies):
    """Prompts of two lengths, padded on the left, each `copies` times in a row."""
    texts = [text for text in countdown_dataset(8, seed=1, num_numbers=(3, 4))["prompt"] for _ in range(copies)]
    return dict(tokenizer(texts, return_tensors="pt", padding=True, padding_side="left"))


def written(model, inputs, **changes):
    """The completions and the tokens per forward pass of the backbone."""
    values = {"max_new_tokens": 12, "do_sample": True, "top_k": 0, "pad_token_id": 0, "eos_token_id": 1, **changes}
    seen, forward = [], model.model.forward
    model.model.forward = lambda *args, **kwargs: (seen.append(kwargs["input_ids"].numel()), forward(*args, **kwargs))[
        1
    ]
    try:
        torch.manual_seed(0)
        return model.generate(**inputs, generation_config=GenerationConfig(**values)), seen
    finally:
        del model.model.forward


@pytest.mark.parametrize("copies", [1, 4])
@pytest.mark.parametrize("mixed", [False, True])
def test_the_same_completions_from_fewer_tokens(copies, mixed, policy):
    model, tokenizer = policy
    inputs = prompts_of(tokenizer, copies)
    if mixed:  # a process may hold the completions of a prompt in any order
        order = torch.randperm(8 * copies, generator=torch.Generator().manual_seed(0))
        inputs = {name: value[order] for name, value in inputs.items()}
    expected, usual = written(model, inputs)
    with prompts_once(model.model):
        found, seen = written(model, inputs)
    assert torch.equal(found, expected)
    rows, width = inputs["input_ids"].shape
    assert usual[0] == rows * width
    assert seen[:2] == ([8 * (width - 1), rows] if copies > 1 else [rows * width, rows])


def test_logits_agree_to_rounding(policy):
    model, tokenizer = policy
    inputs = prompts_of(tokenizer, 4)
    scores = []
    for block in (torch.no_grad, lambda: prompts_once(model.model)):
        with block():
            torch.manual_seed(0)
            config = GenerationConfig(max_new_tokens=6, do_sample=True, top_k=0, pad_token_id=0, eos_token_id=1)
            out = model.generate(**inputs, generation_config=config, output_logits=True, return_dict_in_generate=True)
            scores.append(torch.stack(out.logits))
    assert torch.allclose(*scores, atol=1e-5)


@pytest.mark.parametrize("changes", [{"cache_implementation": "static"}, {"use_cache": False}])
def test_other_caches_are_left_to_transformers(changes, policy):
    model, tokenizer = policy
    inputs = prompts_of(tokenizer, 4)
    expected, usual = written(model, inputs, **changes)
    with prompts_once(model.model):
        found, seen = written(model, inputs, **changes)
    assert torch.equal(found, expected) and seen == usual


def test_the_hook_goes_with_the_block(policy):
    model, _ = policy
    with pytest.raises(KeyError), prompts_once(model.model):
        raise KeyError
    assert not model.model._forward_pre_hooks


def test_a_run_writes_what_it_would_without(lab_trainer, tmp_path, monkeypatch):
    calls = []
    own = prompts_once
    monkeypatch.setattr(
        "es_trl.trainer.update_trainer.prompts_once", lambda backbone: (calls.append(backbone), own(backbone))[1]
    )
    shared = lab_trainer()
    shared.train()
    assert calls == [shared.model.model] * 2
    alone = lab_trainer(shared_prefixes=False, output_dir=str(tmp_path / "alone"))
    alone.train()
    assert len(calls) == 2
    first = ("reward", "completion_tokens")
    ours, theirs = (without_seconds(trainer.history.records)[0] for trainer in (shared, alone))
    assert [ours[name] for name in first] == [theirs[name] for name in first]
    lab_trainer(micro_batches="completions", output_dir=str(tmp_path / "off")).train()
    assert len(calls) == 2
