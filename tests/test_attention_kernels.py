"""Attention leaves out cuDNN where its backward pass can return NaN, and nowhere else."""

import pytest
import torch
from tiny_models import tiny_model

from es_trl.micro_batches import segments


@pytest.fixture
def calls(monkeypatch):
    """The number of keys of each call of SDPA, with whether it has a mask and whether cuDNN is allowed."""
    found, plain = [], torch.nn.functional.scaled_dot_product_attention
    monkeypatch.setattr(segments, "_WITH_CUDNN", "cpu")  # where the tests run

    def spy(query, key, value, attn_mask=None, **kwargs):
        found.append((key.shape[2], attn_mask is not None, torch.backends.cuda.cudnn_sdp_enabled()))
        return plain(query, key, value, attn_mask=attn_mask, **kwargs)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", spy)
    return found


@pytest.mark.parametrize(
    ("tokens", "is_padded", "allowed"), [(192, True, False), (192, False, True), (190, True, True)]
)
def test_a_padded_batch(calls, tokens, is_padded, allowed):
    mask = torch.ones(2, tokens, dtype=torch.long)
    mask[0, :3] = 1 - int(is_padded)
    tiny_model("llama")(input_ids=torch.full((2, tokens), 5), attention_mask=mask)
    assert set(calls) == {(tokens, is_padded, allowed)}
    assert torch.backends.cuda.cudnn_sdp_enabled()


def test_completions_behind_a_shared_prompt(calls):
    # one prompt of 50 tokens, which two completions see: of 14 tokens, so with 64 keys, and then of 20
    for length, allowed in ((14, False), (20, True)):
        calls.clear()
        groups = (segments.Group(1, 50), segments.Group(2, length, prompts=0, chosen=torch.tensor([0, 0])))
        own = segments.segments_of(torch.tensor([50, length, length]), groups)
        ids = torch.full((1, 50 + 2 * length), 5)
        positions = torch.cat([torch.arange(50), *[torch.arange(50, 50 + length)] * 2]).unsqueeze(0)
        inputs = {"position_ids": positions, "segments": own, "attention_mask": segments.no_mask()}
        tiny_model("llama")(input_ids=ids, use_cache=False, **inputs)
        assert set(calls) == {(50, False, True), (50 + length, True, allowed)}


def test_a_user_who_has_turned_cudnn_off_finds_it_off(calls):
    torch.backends.cuda.enable_cudnn_sdp(False)
    try:
        tiny_model("llama")(input_ids=torch.full((1, 64), 5), attention_mask=torch.tensor([[0] + [1] * 63]))
        assert set(calls) == {(64, True, False)} and not torch.backends.cuda.cudnn_sdp_enabled()
    finally:
        torch.backends.cuda.enable_cudnn_sdp(True)


def test_attention_on_a_cpu_is_left_alone(calls, monkeypatch):
    monkeypatch.undo()
    with segments._finite_gradients(torch.zeros(1, 1, 64, 8), torch.ones(1, 1, 64, 64)):
        assert torch.backends.cuda.cudnn_sdp_enabled()
