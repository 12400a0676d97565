"""Every layout gives TRL's log-probabilities, entropies and gradients."""

import functools

import pytest
import torch
from layouts import LENGTHS, batch_of, error, said, tiny


ALL = ("trimmed", "masked", "packed", "shared")
SEGMENTED = ("packed", "shared")
BATCHES = {
    "mixed": {},
    "one token each": {"lengths": [(4, 1), (4, 1), (2, 1)], "same": (0, 1)},
    "prompts of one token": {"lengths": [(1, 5), (1, 3), (1, 9)], "same": (0, 1)},
    "all equal": {"lengths": [(5, 8)] * 4, "same": (0, 1, 2, 3)},
    "apart": {"lengths": [(3, 8), (4, 8), (5, 2)], "same": ()},
    "one completion": {"lengths": [(3, 8)], "same": ()},
    "masked first and last": {"lengths": [(3, 0), (3, 5), (6, 2), (6, 0)], "same": (0, 1)},
    "nothing scored": {"lengths": [(3, 0), (5, 0)], "same": ()},
}


@functools.cache
def model_of(kind="llama", **changes):
    return tiny(kind, **changes)


@functools.cache
def by_trl(kind="llama", batch="mixed"):
    return said(model_of(kind), batch_of(**BATCHES[batch]), None)


@pytest.mark.parametrize("layout", ALL)
@pytest.mark.parametrize("batch", BATCHES)
def test_as_trl(batch, layout):
    assert error(by_trl("llama", batch), said(model_of(), batch_of(**BATCHES[batch]), layout)) < 1e-5


@pytest.mark.parametrize("layout", ALL)
def test_learned_positions_are_columns_of_the_whole_rollout(layout):
    """A trimmed micro-batch of a rollout with a longer prompt keeps its positions."""
    model, batch = model_of("gpt2"), batch_of()
    padded = {
        name: torch.nn.functional.pad(column, (4, 0)) if "prompt" in name else column for name, column in batch.items()
    }
    expected = said(model, padded, None)
    assert error(expected, said(model, batch, layout, prompt_width=13)) < 1e-5
    assert error(expected, said(model, batch, layout, prompt_width=9)) > 1e-3


@pytest.mark.parametrize("layout", ALL)
def test_the_content_of_padding_is_nothing(layout):
    batch = batch_of()
    noise = torch.randint(3, 90, batch["prompt_ids"].shape, generator=torch.Generator().manual_seed(1))
    changed = {**batch, "prompt_ids": torch.where(batch["prompt_mask"].bool(), batch["prompt_ids"], noise)}
    assert error(by_trl(), said(model_of(), changed, layout)) < 1e-5


@pytest.mark.parametrize("layout", ALL)
def test_a_prompt_may_hold_the_padding_token(layout):
    batch = batch_of()
    batch["prompt_ids"][2, -3] = 0  # the padding token, which the prompts of rows 1 and 3 do not have there
    assert error(said(model_of(), batch, None), said(model_of(), batch, layout)) < 1e-5


@pytest.mark.parametrize("layout", ALL)
def test_the_order_of_rows_is_free(layout):
    order = torch.tensor([4, 2, 0, 5, 1, 3])
    batch = {name: column[order] for name, column in batch_of().items()}
    assert error(said(model_of(), batch, None), said(model_of(), batch, layout)) < 1e-5


def test_rows_are_padded_to_a_multiple():
    model, widths = model_of(), []
    handle = model.model.embed_tokens.register_forward_hook(lambda module, args, output: widths.append(output.shape[1]))
    with torch.no_grad():
        model.model(input_ids=torch.ones(1, 3, dtype=torch.long))
    assert error(by_trl(), said(model, batch_of(), "trimmed", multiple_of=8)) < 1e-5
    handle.remove()
    assert widths == [3, 24]  # 9 + 11 tokens


@pytest.mark.parametrize("layout", ALL)
@pytest.mark.parametrize("reentrant", [True, False])
def test_gradient_checkpointing(layout, reentrant):
    model = tiny("llama")
    expected = said(model, batch_of(), None)
    model.gradient_checkpointing_enable({"use_reentrant": reentrant})
    model.enable_input_require_grads()  # as TRL does
    assert error(expected, said(model, batch_of(), layout)) < 1e-5


@pytest.mark.parametrize("layout", ALL)
@pytest.mark.parametrize("reentrant", [None, True, False])
def test_adapters(layout, reentrant):
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(
        r=4, target_modules=["q_proj", "v_proj", "down_proj"], init_lora_weights=False, lora_dropout=0.0
    )
    model = peft.get_peft_model(tiny("llama"), config)
    if reentrant is not None:
        model.base_model.model.gradient_checkpointing_enable({"use_reentrant": reentrant})
        model.base_model.model.enable_input_require_grads()
    expected = said(model, batch_of(), None)
    assert len(expected.gradients) == 12 and error(expected, said(model, batch_of(), layout)) < 1e-5


@pytest.mark.parametrize("layout", ALL)
@pytest.mark.parametrize("clamp", [0.2, 0.9])
def test_a_clamped_head(layout, clamp):
    expected = said(model_of(), batch_of(), None, clamp=clamp)
    assert expected.clamped.max() > 0.5
    assert error(expected, said(model_of(), batch_of(), layout, clamp=clamp)) < 1e-5


@pytest.mark.parametrize("layout", ALL)
def test_tied_heads(layout):
    model = model_of("llama", tie_word_embeddings=True)
    assert model.lm_head.weight is model.model.embed_tokens.weight
    assert error(said(model, batch_of(), None), said(model, batch_of(), layout)) < 1e-5


def test_logits_are_capped():
    expected = said(model_of("gemma2"), batch_of(), None)
    assert error(expected, said(model_of("gemma2", final_logit_softcapping=None), batch_of(), "packed")) > 1e-2


@pytest.mark.parametrize("kind", ["mixtral", "qwen3_moe"])
def test_the_loss_of_a_router_leaves_padding_out(kind):
    model = model_of(kind)
    expected = said(model, batch_of(), None, aux_weight=0.5)
    assert error(expected, said(model, batch_of(), "masked", aux_weight=0.5)) < 1e-5
    assert error(expected, said(model, batch_of(), "masked", aux_weight=0.5, multiple_of=8)) < 1e-5
    assert error(expected, said(model, batch_of(), "masked", aux_weight=0.4)) > 1e-4


# --- the row of FlashAttention, which tells sequences apart by positions that begin again -----------------------------


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("kind", ["llama", "qwen2", "mistral", "qwen3_moe"])
def test_flash_inputs_are_as_trl(kind, attention):
    """On a CPU, transformers itself keeps the sequences of such a row apart by a mask."""
    model = model_of(kind, attn_implementation=attention)
    assert model.config._attn_implementation == attention
    expected, found = (said(model, batch_of(), layout) for layout in (None, "flash"))
    assert error(expected, found) < 1e-5


def test_flash_positions_begin_again():
    seen = []
    model = model_of()
    handle = model.model.register_forward_pre_hook(lambda module, args, kwargs: seen.append(kwargs), with_kwargs=True)
    said(model, batch_of(), "flash")
    handle.remove()
    (kwargs,) = seen
    assert kwargs["position_ids"].tolist() == [[k for p, c in LENGTHS for k in range(p + c)]]
    assert kwargs["input_ids"].shape == kwargs["position_ids"].shape and kwargs.get("attention_mask") is None
