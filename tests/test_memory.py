"""Projected memory, by hand and by its properties."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from planned_run import LORA, QWEN_7B, SEVEN, SHAPES

from es_trl.planning.memory import (
    MOMENTS,
    GiB,
    cache_token_bytes,
    cache_tokens,
    engine_bytes,
    memory_of,
    state_bytes,
    totals,
)
from es_trl.planning.workload import Adapter


def test_lora_by_hand():
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
    shape=st.sampled_from(SHAPES),
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
