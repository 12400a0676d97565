"""Weights of a resumed run, and of the best model, are all those of the checkpoint."""

import copy
import itertools

import pytest
import torch
from datasets import Dataset
from lab_runs import LAB_ARGS, without_seconds
from peft import LoraConfig
from safetensors.torch import load_file, save_file
from tiny_models import tiny_model, tiny_tokenizer

from es_trl import ESGRPOConfig, ESGRPOTrainer
from es_trl.checkpoints.weights import load_converted, not_loaded


PROMPTS = Dataset.from_dict({"prompt": [f"{number}+{number}=" for number in range(16)]})
RUN = {**LAB_ARGS, "max_completion_length": 6, "save_strategy": "steps", "save_steps": 4, "max_steps": 12}


def digits(completions, **kwargs):
    return [float(sum(char.isdigit() for char in text)) for text in completions]


def trainer(model, folder, **changes):
    extra = {name: changes.pop(name) for name in ("peft_config", "eval_dataset") if name in changes}
    args = ESGRPOConfig(str(folder), **{**RUN, **changes})
    return ESGRPOTrainer(model, digits, args, PROMPTS, processing_class=tiny_tokenizer(), **extra)


def weights(model):
    return copy.deepcopy(model.state_dict())


def same(own, other):
    return own.keys() == other.keys() and all(torch.equal(own[name], other[name]) for name in own)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["qwen3_moe", "mixtral", "qwen3_next", "llama", "llama_tied"])
def test_a_resumed_run_of_every_kind_of_model_is_the_same(kind, tmp_path):
    whole = trainer(tiny_model(kind), tmp_path / "whole")
    whole.train()
    resumed = trainer(tiny_model(kind, seed=1), tmp_path / "resumed")
    resumed.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-4"))
    assert same(resumed.model.state_dict(), whole.model.state_dict())
    assert without_seconds(resumed.history.records) == without_seconds(whole.history.records)


def test_weights_are_not_rounded_to_what_the_configuration_says(tmp_path):
    """Experts in fp32 whose configuration says bf16, as after `model.float()`."""
    model = tiny_model("qwen3_moe")
    model.config.dtype = torch.bfloat16
    expected = weights(model)
    model.save_pretrained(tmp_path)
    other = tiny_model("qwen3_moe", seed=1)
    other.config.dtype = torch.bfloat16
    load_converted(other, tmp_path)
    assert same(other.state_dict(), expected)


@pytest.mark.slow
def test_the_best_model_is_of_one_checkpoint(tmp_path):
    """Reward falls in evaluation, so the best is the first checkpoint, experts included."""
    scores = itertools.count(3, -1)
    best = {"load_best_model_at_end": True, "metric_for_best_model": "score", "eval_strategy": "steps", "eval_steps": 4}
    best["save_total_limit"] = 1
    run = trainer(tiny_model("qwen3_moe"), tmp_path / "run", greater_is_better=True, eval_dataset=PROMPTS, **best)
    run.evaluate = lambda *args, **kwargs: {"eval_score": float(next(scores))}
    run.train()
    assert sorted(path.name for path in (tmp_path / "run").glob("checkpoint-*")) == ["checkpoint-12", "checkpoint-4"]
    found = ESGRPOTrainer(
        str(tmp_path / "run" / "checkpoint-4"), digits, ESGRPOConfig(str(tmp_path / "none"), **RUN), PROMPTS
    )
    assert same(run.model.state_dict(), found.model.state_dict())
    (tmp_path / "run" / "checkpoint-4" / "model.safetensors").write_bytes(b"")
    with pytest.raises(ValueError, match="the best model cannot be loaded from .*model.safetensors is damaged"):
        run._load_best_model()


@pytest.mark.parametrize("change", ["missing", "unknown"])
def test_a_checkpoint_of_other_parameters_is_refused(change, tmp_path):
    model = tiny_model("llama")
    model.save_pretrained(tmp_path)
    saved = load_file(tmp_path / "model.safetensors")
    if change == "missing":
        del saved["model.norm.weight"]
    else:
        saved["model.other.weight"] = torch.zeros(2)
    save_file(saved, tmp_path / "model.safetensors", metadata={"format": "pt"})
    left = not_loaded(model, model.load_state_dict(saved, strict=False))
    assert left == [{"missing": "model.norm.weight", "unknown": "model.other.weight"}[change]]
    with pytest.raises(ValueError, match=f"does not hold the weights of this model .{left[0]} cannot be matched"):
        load_converted(model, tmp_path)


@pytest.mark.slow
def test_adapters_are_loaded_and_checked(tmp_path):
    lora = LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False)
    whole = trainer(tiny_model("llama"), tmp_path / "whole", peft_config=lora)
    whole.train()
    checkpoint = tmp_path / "whole" / "checkpoint-4"
    resumed = trainer(tiny_model("llama"), tmp_path / "resumed", peft_config=lora)
    resumed.train(resume_from_checkpoint=str(checkpoint))
    assert same(resumed.model.state_dict(), whole.model.state_dict())
    other = LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False)
    with pytest.raises(ValueError, match="does not hold the weights of this model"):
        trainer(tiny_model("llama"), tmp_path / "other", peft_config=other).train(
            resume_from_checkpoint=str(checkpoint)
        )


@pytest.mark.slow
def test_a_reference_model_that_moves_goes_on_from_where_it_was(tmp_path):
    base = str(tmp_path / "base")
    tiny_model("llama").save_pretrained(base)
    tiny_tokenizer().save_pretrained(base)
    moves = {"beta": 0.05, "sync_ref_model": True, "ref_model_sync_steps": 2, "ref_model_mixup_alpha": 0.5}
    whole = trainer(base, tmp_path / "whole", **moves)
    whole.train()
    reference = weights(whole.ref_model)
    resumed = trainer(base, tmp_path / "resumed", **moves)
    resumed.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-4"))
    assert same(resumed.ref_model.state_dict(), reference) and same(
        resumed.model.state_dict(), whole.model.state_dict()
    )
    still = trainer(base, tmp_path / "still", beta=0.05)
    still.train()
    with pytest.raises(ValueError, match="`sync_ref_model` is true but .* holds no reference model"):
        trainer(base, tmp_path / "moved", **moves).train(
            resume_from_checkpoint=str(tmp_path / "still" / "checkpoint-4")
        )
