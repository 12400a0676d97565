"""Sizes and parameter counts of models, by hand and beside transformers' own models."""

import pytest
import torch
from planned_run import LORA, QWEN_7B
from transformers import AutoConfig, AutoModelForCausalLM, GPT2Config, Qwen2Config

from es_trl.planning.model_shape import NoProjectionError, from_config, shape_of


SMALL = {"vocab_size": 96, "hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4}


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("Qwen/Qwen2.5-1.5B", 1_543_714_304),
        ("Qwen/Qwen2.5-7B", 7_615_616_512),
        ("Qwen/Qwen2.5-32B", 32_763_876_352),
        ("BytedTsinghua-SIA/DAPO-Qwen-32B", 32_763_876_352),
    ],
)
def test_shapes_of_the_recipes(name, parameters):
    shape = shape_of(name)
    config = Qwen2Config(
        vocab_size=shape.vocab, hidden_size=shape.hidden, intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers, num_attention_heads=shape.heads, num_key_value_heads=shape.kv_heads,
        tie_word_embeddings=shape.tied, max_position_embeddings=131_072,
    )  # fmt: skip
    assert shape.parameters == shape.active == parameters
    assert from_config(config) == shape


def test_the_7b_by_hand():
    maps = {
        "q_proj": (3584, 3584), "k_proj": (3584, 512), "v_proj": (3584, 512), "o_proj": (3584, 3584),
        "gate_proj": (3584, 18_944), "up_proj": (3584, 18_944), "down_proj": (18_944, 3584),
    }  # fmt: skip
    assert QWEN_7B.linears == {name: [sizes] * 28 for name, sizes in maps.items()}
    assert QWEN_7B.linear_parameters == 28 * (3584 * 3584 * 2 + 3584 * 512 * 2 + 3 * 3584 * 18_944)
    assert (QWEN_7B.layer, QWEN_7B.embedding, QWEN_7B.tied) == (233_057_792, 152_064 * 3584, False)
    assert (QWEN_7B.attention, QWEN_7B.kv_heads, QWEN_7B.max_positions) == (3584, 4, 131_072)
    # rank x (inputs + outputs): 4 maps of the attention, 3 of the MLP, 28 layers; 16 is peft's published 40,370,176
    per_layer = (3584 + 3584) * 2 + (3584 + 512) * 2 + (3584 + 18_944) * 3
    assert LORA.parameters(QWEN_7B) == 28 * 32 * per_layer == 2 * 40_370_176
    assert LORA.inputs(QWEN_7B) == 6 * 3584 + 18_944


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize(("kind", "extra"), [("llama", 0), ("mistral", 0), ("qwen2", 64 + 32 + 32), ("qwen3", 2 * 16)])
def test_parameters_by_hand(kind, extra, tied):
    config = AutoConfig.for_model(
        kind, **SMALL, intermediate_size=160, num_key_value_heads=2, head_dim=16, tie_word_embeddings=tied
    )
    # four maps of the attention, three of the MLP, two norms, and biases of q, k and v or norms of q and k
    layer = 64 * (64 + 32 + 32 + 64) + 3 * 64 * 160 + 2 * 64 + extra
    shape = from_config(config)
    assert (shape.layer, shape.tied, shape.embedding) == (layer, tied, 96 * 64)
    assert shape.parameters == shape.active == (1 if tied else 2) * 96 * 64 + 3 * layer + 64


@pytest.mark.parametrize("kind", ["llama", "gpt2", "gemma2", "gemma3_text", "phi3", "falcon", "opt", "qwen3_moe"])
def test_any_causal_language_model_is_measured(kind):
    config = AutoConfig.for_model(kind, num_hidden_layers=2)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    shape = from_config(config)
    assert shape.parameters == model.num_parameters() and shape.layers == 2
    assert shape.kv_bytes > 0 and shape.intermediate > shape.hidden // 2


def test_widths_where_a_config_has_none():
    shape = from_config(GPT2Config(n_layer=2, n_embd=64, n_head=4))
    assert (shape.intermediate, shape.kv_heads, shape.head_dim, shape.linears) == (256, 4, 16, {})


def test_experts_by_hand():
    config = AutoConfig.for_model(
        "qwen3_moe", **SMALL, num_key_value_heads=2, head_dim=16, num_experts=8, num_experts_per_tok=2,
        moe_intermediate_size=48, intermediate_size=160, tie_word_embeddings=False,
    )  # fmt: skip
    shape = from_config(config)
    expert = 3 * 64 * 48
    layer = 64 * (64 + 32 + 32 + 64) + 8 * expert + 8 * 64 + 2 * 64 + 2 * 16
    assert shape.layer == layer and shape.parameters == 2 * 96 * 64 + 3 * layer + 64
    assert shape.active == shape.parameters - 3 * 6 * expert and shape.intermediate == 2 * 48
    # experts are no linear maps of their own: 4-bit loading and adapters leave them
    assert set(shape.linears) == {"q_proj", "k_proj", "v_proj", "o_proj"}


@pytest.mark.parametrize(
    ("kind", "options", "why"),
    [
        (
            "llama",
            {"quantization_config": {"quant_method": "gptq", "bits": 4}},
            "does not cover quantization_config of the model",
        ),
        ("deepseek_v3", {}, "does not cover kv_lora_rank of the model"),
        ("qwen3_next", {}, "does not cover linear_attention of the model"),
        ("mamba", {}, "does not cover linear_attention of the model"),
        ("t5", {}, "t5 config gives no language model"),
        ("vit", {}, "vit config gives no language model"),
        ("llama", {"hidden_size": 0}, "llama config gives no language model"),
    ],
)
def test_other_configs_are_not_guessed_at(kind, options, why):
    with pytest.raises(NoProjectionError, match=why):
        from_config(AutoConfig.for_model(kind, **options))
