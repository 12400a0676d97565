"""The estimates of memory: by hand, by their properties, and beside what a run really holds on a CPU."""

import gc
import weakref
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from launching import launch
from memory_worker import lora, run
from planned_run import QWEN_7B, SEVEN
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import AutoConfig, AutoModelForCausalLM, Qwen2Config, Qwen2ForCausalLM

from es_trl.lab import BASE_MODEL
from es_trl.planning.memory import (
    MOMENTS,
    GiB,
    cache_token_bytes,
    cache_tokens,
    engine_bytes,
    memory_of,
    passing_bytes,
    state_bytes,
    totals,
)
from es_trl.planning.model_shape import SHAPES, Adapter, NoEstimateError, from_config, shape_of


ROOT = Path(__file__).parent.parent
LORA = Adapter(32, tuple(QWEN_7B.linears))


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("Qwen/Qwen2.5-1.5B", 1_543_714_304),
        ("Qwen/Qwen2.5-7B", 7_615_616_512),
        ("BytedTsinghua-SIA/DAPO-Qwen-32B", 32_763_876_352),
    ],
)
def test_shapes_of_the_recipes(name, parameters):
    shape = SHAPES[name]
    config = Qwen2Config(
        vocab_size=shape.vocab, hidden_size=shape.hidden, intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers, num_attention_heads=shape.heads, num_key_value_heads=shape.kv_heads,
        tie_word_embeddings=shape.tied, max_position_embeddings=131_072,
    )  # fmt: skip
    with torch.device("meta"):
        model = Qwen2ForCausalLM(config)
    assert shape.parameters == parameters == model.num_parameters()
    assert from_config(config) == shape == shape_of(name)


@pytest.mark.parametrize("kind", ["llama", "mistral", "qwen2", "qwen3"])
def test_any_config_of_the_family(kind):
    config = AutoConfig.for_model(
        kind, vocab_size=96, hidden_size=64, intermediate_size=160, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, head_dim=16, tie_word_embeddings=kind == "llama",
    )  # fmt: skip
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    assert from_config(config).parameters == model.num_parameters()


@pytest.mark.parametrize(
    ("kind", "options", "why"),
    [
        ("gpt2", {}, "its model_type is gpt2"),
        ("qwen3_moe", {}, "its model_type is qwen3_moe"),
        ("llama", {"attention_bias": True}, "its config has attention_bias"),
    ],
)
def test_other_configs_are_not_guessed_at(kind, options, why):
    with pytest.raises(NoEstimateError, match=why):
        from_config(AutoConfig.for_model(kind, **options))


def test_lora_by_hand():
    # rank x (inputs + outputs): 4 maps of the attention, 3 of the MLP, 28 layers; 16 is peft's published 40,370,176
    per_layer = (3584 + 3584) * 2 + (3584 + 512) * 2 + (3584 + 18_944) * 3
    assert LORA.parameters(QWEN_7B) == 28 * 32 * per_layer == 2 * 40_370_176
    states = state_bytes(replace(SEVEN, adapter=LORA, sharding="none", num_processes=1))
    adapter = 2 * 40_370_176
    assert states["weights"] == 7_615_616_512 * 2 + adapter * 4
    assert (states["gradients"], states["optimizer"]) == (adapter * 4, adapter * 8)
    packed = state_bytes(replace(SEVEN, adapter=LORA, sharding="none", num_processes=1, quantized=True))
    linear = 28 * (3584 * 3584 * 2 + 3584 * 512 * 2 + 3 * 3584 * 18_944)
    assert packed["weights"] == (7_615_616_512 - linear) * 2 + linear * 0.5625 + adapter * 2


def test_states_by_hand():
    whole = 7_615_616_512
    assert state_bytes(SEVEN) == {
        "weights": whole * 2 / 8, "gradients": whole * 2 / 8, "optimizer": whole * 12 / 8, "reference model": 0.0
    }  # fmt: skip
    zero2 = state_bytes(replace(SEVEN, sharding="zero2", reference=True))
    assert zero2["weights"] == zero2["reference model"] == whole * 2 and zero2["optimizer"] == whole * 12 / 8
    fsdp = state_bytes(replace(SEVEN, sharding="fsdp"))
    assert [fsdp[name] for name in ("weights", "gradients", "optimizer")] == [whole * n / 8 for n in (4, 4, 8)]
    ddp = state_bytes(replace(SEVEN, sharding="ddp", weight_bytes=4))
    assert [ddp[name] for name in ("weights", "gradients", "optimizer")] == [whole * n for n in (4, 8, 8)]


def test_cache_by_hand():
    assert QWEN_7B.kv_bytes == 2 * 28 * 4 * 128 * 2 == 57_344
    assert QWEN_7B.kv_bytes * 16_384 / GiB == 0.875
    weights, work = engine_bytes(SEVEN)
    assert (weights, work) == (7_615_616_512 * 2, GiB + 16 * 152_064 * 512)
    left = 0.4 * 79.1 * GiB - weights - work
    assert cache_tokens(SEVEN, 79.1 * GiB) == left // 57_344
    split = replace(SEVEN, engine=replace(SEVEN.engine, tensor_parallel=8))
    # 4 key-value heads on 8 GPUs: one each, held twice
    assert engine_bytes(split)[0] == weights / 8 and cache_token_bytes(split) == 57_344 / 4


def test_parts_by_hand():
    memory = memory_of(SEVEN, 79.1 * GiB)
    tokens = 4 * (2048 + 4096)
    boundaries = 28 * tokens * 3584 * 2
    assert memory["activations"]["loss"] == boundaries + tokens * 3584 * 8 + 4 * 6144**2
    layer = tokens * (16 * 3584 + 10 * 3584 + 12 * 18_944) + 2 * 4 * 6144**2
    assert memory["activations"]["backward"] == memory["activations"]["loss"] + layer
    # a tile of logits, hidden states with their gradients, and the head's gradient in fp32 and bf16
    head = 152_064 * 3584
    assert memory["logits"]["loss"] == 4096 * 32_768 * 2 + 4 * 4096 * 3584 * 8 + head * 6
    assert memory["gathered weights"]["backward"] == (1.05e9 + QWEN_7B.layer) * 2
    assert memory["fp32 gradients"]["step"] == 7_615_616_512 / 8 * 6
    assert memory["vLLM"] == {"generate": 0.4 * 79.1 * GiB, "loss": 0.0, "backward": 0.0, "step": 0.0}
    awake = replace(SEVEN, engine=replace(SEVEN.engine, sleeps=False))
    assert set(memory_of(awake, 79.1 * GiB)["vLLM"].values()) == {0.4 * 79.1 * GiB}
    own = memory_of(replace(SEVEN, engine=None), 79.1 * GiB)
    assert own["KV cache of generate"]["generate"] == 512 * 6144 * 57_344
    # what is merged into an adapter's weights under ZeRO-3 is all of them
    merged = memory_of(replace(SEVEN, adapter=LORA), 79.1 * GiB)["gathered weights"]["generate"]
    assert merged == (7_615_616_512 + LORA.parameters(QWEN_7B)) * 2


trainings = st.builds(
    replace,
    st.just(SEVEN),
    shape=st.sampled_from(list(SHAPES.values())),
    sharding=st.sampled_from(["none", "ddp", "zero2", "zero3", "fsdp"]),
    weight_bytes=st.sampled_from([2, 4]),
    micro_batch=st.integers(1, 8),
    completion=st.integers(256, 16_384),
    checkpointing=st.booleans(),
    attention=st.sampled_from(["sdpa", "flash", "eager"]),
    reference=st.booleans(),
)


def peaks(training):
    return totals(memory_of(training, 79.1 * GiB))


@settings(max_examples=200, deadline=None)
@given(trainings, st.integers(1, 64), st.integers(2, 8))
def test_more_processes_never_take_more(training, processes, times):
    few = replace(training, sharding="zero3", num_processes=processes)
    many = replace(few, num_processes=processes * times)
    assert all(peaks(many)[moment] <= peaks(few)[moment] for moment in MOMENTS)
    assert peaks(many)["backward"] < peaks(few)["backward"]


@settings(max_examples=200, deadline=None)
@given(trainings, st.integers(1, 8), st.integers(1, 8192))
def test_memory_grows_with_completions_and_tokens(training, more, tokens):
    for larger in (
        replace(training, micro_batch=training.micro_batch + more),
        replace(training, completion=training.completion + tokens),
    ):
        assert all(peaks(larger)[moment] > peaks(training)[moment] for moment in ("loss", "backward"))


@settings(max_examples=200, deadline=None)
@given(trainings, st.integers(1, 64))
def test_an_adapter_never_takes_more_on_one_gpu(training, rank):
    # without checkpointing it may: each of its maps keeps a copy of its input
    full = replace(training, sharding="none", num_processes=1, checkpointing=True)
    adapted = replace(full, adapter=Adapter(rank, tuple(full.shape.linears)))
    packed = replace(adapted, quantized=True)
    for moment in MOMENTS:
        assert peaks(packed)[moment] < peaks(adapted)[moment] < peaks(full)[moment]


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
    if changes.get("checkpointing", True):
        model.gradient_checkpointing_enable()
    model.train()
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter) if parameter.requires_grad else None
    ids = torch.randint(0, 512, (2, 1024))
    mask = torch.ones_like(ids)
    mask[:, :5] = 0  # padding, so that the mask is really made
    gc.collect()
    with Live() as live:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            hidden = model.model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
        gc.collect()
        forward = live.now
        hidden.sum().backward()
    sizes = {"shape": shape, "adapter": adapter, "sharding": "none", "num_processes": 1, "micro_batch": 2}
    estimated = passing_bytes(replace(SEVEN, **sizes, prompt=24, completion=1000, **changes))
    # the estimate is not below, and not by more than a fifth above
    assert 0.97 < estimated["kept"] / forward < 1.2
    assert 0.97 < (estimated["kept"] + estimated["layer"]) / live.peak < 1.2


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
