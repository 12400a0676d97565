"""Projected memory, beside what real models and runs hold on a CPU."""

import gc
import weakref
from dataclasses import replace

import pytest
import torch
from launching import launch
from memory_worker import lora, run
from planned_run import SEVEN
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import AutoConfig, AutoModelForCausalLM, Qwen2Config, Qwen2ForCausalLM

from es_trl.lab import BASE_MODEL
from es_trl.micro_batches.layout import Sizes
from es_trl.micro_batches.layouts import BY_NAME
from es_trl.planning.memory import activation_bytes, state_bytes
from es_trl.planning.model_shape import from_config, shape_of
from es_trl.planning.summary import CHECKED
from es_trl.planning.workload import Adapter


class Live(TorchDispatchMode):
    """Counts the bytes of all tensors that operations make, as long as they live, and the most at once."""

    def __init__(self):
        super().__init__()
        self.now = self.peak = 0
        self.sizes = {}

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        given = {id(t.untyped_storage()) for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)}
        for tensor in tree_leaves(result):
            storage = tensor.untyped_storage() if isinstance(tensor, torch.Tensor) else None
            if storage is not None and id(storage) not in given and id(storage) not in self.sizes:
                self.sizes[id(storage)] = storage.nbytes()
                self.now += storage.nbytes()
                self.peak = max(self.peak, self.now)
                weakref.finalize(storage, self.free, id(storage))
        return result

    def free(self, key):
        self.now -= self.sizes.pop(key)


SMALL = Qwen2Config(
    vocab_size=512, hidden_size=128, intermediate_size=640, num_hidden_layers=6, num_attention_heads=4,
    num_key_value_heads=2, tie_word_embeddings=False, attn_implementation="sdpa",
)  # fmt: skip


def measured(model, checkpointing, autocast=False, inputs=None):
    """Bytes that the forward pass keeps (of 2 x 1,024 tokens by default), and the most with the backward pass."""
    if checkpointing:
        model.gradient_checkpointing_enable()
    model.train()
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter) if parameter.requires_grad else None
    if inputs is None:
        inputs = {
            "input_ids": torch.randint(1, 512, (2, 1024)),
            "attention_mask": torch.ones(2, 1024, dtype=torch.long),
        }
        inputs["attention_mask"][:, :5] = 0  # padding, so that the mask is really made
    gc.collect()
    with Live() as live:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            hidden = model.model(**inputs, use_cache=False).last_hidden_state
        gc.collect()
        forward = live.now
        hidden.sum().backward()
    return forward, live.peak


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dtype", "autocast", "changes", "rank"),
    [
        (torch.bfloat16, False, {}, None),
        (torch.float32, False, {"weight_bytes": 4, "compute_bytes": 4}, None),
        (torch.float32, True, {"weight_bytes": 4}, None),
        (torch.bfloat16, True, {}, 8),
        (torch.bfloat16, False, {"attention": "eager"}, None),
        (torch.bfloat16, False, {"checkpointing": False}, None),
    ],
    ids=["bf16", "fp32", "autocast", "lora", "eager", "no checkpointing"],
)
def test_activations_beside_those_of_a_real_model(dtype, autocast, changes, rank):
    config = Qwen2Config(
        vocab_size=512, hidden_size=128, intermediate_size=640, num_hidden_layers=6, num_attention_heads=4,
        num_key_value_heads=2, tie_word_embeddings=False, attn_implementation=changes.get("attention", "sdpa"),
    )  # fmt: skip
    torch.manual_seed(0)
    model = Qwen2ForCausalLM(config).to(dtype)
    shape = from_config(config)
    adapter = rank and Adapter(rank, tuple(shape.linears))
    if rank is not None:
        from peft import get_peft_model

        model = get_peft_model(model, lora(rank))
        model.enable_input_require_grads()
        model = model.get_base_model()
    forward, peak = measured(model, changes.get("checkpointing", True), autocast)
    sizes = {"shape": shape, "adapter": adapter, "sharding": "none", "num_processes": 1, "micro_batch": 2}
    kept, layer, _ = activation_bytes(replace(SEVEN, **sizes, prompt=24, completion=1000, **changes))
    # the projection is not below, and not by more than a fifth above
    assert 0.97 < kept / forward < 1.2
    assert 0.97 < (kept + layer) / peak < 1.2


@pytest.mark.slow
@pytest.mark.parametrize("checkpointing", [True, False])
@pytest.mark.parametrize(
    ("kind", "options", "least"),
    [
        ("phi3", {"intermediate_size": 640}, 0.97),
        ("mixtral", {"num_local_experts": 8, "num_experts_per_tok": 2, "intermediate_size": 320}, 0.9),
        ("qwen3_moe", {"num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 320}, 0.8),
        ("gemma2", {"intermediate_size": 640, "head_dim": 32}, 0.7),
    ],
)
def test_activations_of_other_layers_are_projected_low(kind, options, least, checkpointing):
    config = AutoConfig.for_model(
        kind, vocab_size=512, hidden_size=128, num_hidden_layers=6, num_attention_heads=4, num_key_value_heads=2,
        tie_word_embeddings=False, pad_token_id=0, eos_token_id=1, bos_token_id=2, attn_implementation="sdpa",
        **options,
    )  # fmt: skip
    torch.manual_seed(0)
    forward, peak = measured(AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16), checkpointing)
    sizes = {"shape": from_config(config), "sharding": "none", "num_processes": 1, "micro_batch": 2}
    kept, layer, _ = activation_bytes(replace(SEVEN, **sizes, prompt=24, completion=1000, checkpointing=checkpointing))
    assert least < kept / forward < 1.2 and least < (kept + layer) / peak < 1.2
    assert (kind in CHECKED) == (least >= 0.97)


@pytest.mark.slow
@pytest.mark.parametrize("checkpointing", [True, False])
@pytest.mark.parametrize("layout", ["trimmed", "packed"])
def test_activations_of_a_micro_batch_cut_by_tokens_are_at_most_those_projected(layout, checkpointing):
    lengths = [700, 420, 300, 130, 90, 60, 30, 12]
    mask = torch.arange(-24, 700) < torch.tensor(lengths).unsqueeze(1)
    laid = BY_NAME[layout](torch.randint(1, 512, mask.shape), mask, Sizes(700, 24))
    inputs = laid.inputs
    tokens = inputs["input_ids"].numel()
    model = Qwen2ForCausalLM(SMALL).to(torch.bfloat16)
    forward, peak = measured(model, checkpointing, inputs=inputs)
    work = replace(SEVEN, shape=from_config(SMALL), sharding="none", num_processes=1, checkpointing=checkpointing)
    kept, layer, _ = activation_bytes(replace(work, prompt=24, completion=700).with_budget(tokens))
    assert 0.97 < kept / forward < 2.0 and 0.97 < (kept + layer) / peak < 2.0


@pytest.mark.parametrize(
    ("dtype", "bf16", "rank"),
    [("float32", False, None), ("float32", True, None), ("bfloat16", True, None), ("bfloat16", True, 4)],
)
def test_bytes_of_a_real_run(lab_args, dtype, bf16, rank):
    args = lab_args(max_steps=2, bf16=bf16, model_init_kwargs={"dtype": dtype})
    counted, _ = run(args, lora(rank))
    shape = shape_of(BASE_MODEL)
    training = replace(
        SEVEN, shape=shape, adapter=rank and Adapter(rank, tuple(shape.linears)), sharding="none", num_processes=1,
        weight_bytes=4 if dtype == "float32" else 2,
    )  # fmt: skip
    expected = state_bytes(training)
    assert counted == {name: expected[name] for name in ("weights", "gradients", "optimizer")}


@pytest.mark.slow
@pytest.mark.parametrize(("sharding", "rank"), [("zero2", None), ("zero3", None), ("zero3", 4)])
def test_bytes_of_a_real_run_with_deepspeed(sharding, rank, tmp_path):
    options = {"dtype": "bfloat16", "bf16": True, "max_steps": 2, "per_device_train_batch_size": 2}
    counted = launch(tmp_path, 2, sharding, worker="memory_worker.py", lora_r=rank, **options)
    shape = shape_of(BASE_MODEL)
    adapter = rank and Adapter(rank, tuple(shape.linears))
    expected = state_bytes(replace(SEVEN, shape=shape, adapter=adapter, sharding=sharding, num_processes=2))
    assert counted == 2 * [{name: expected[name] for name in ("weights", "gradients", "optimizer")}]
