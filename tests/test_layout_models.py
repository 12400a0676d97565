"""Every family of models gets a layout in which it says what it says in TRL's, and never another one."""

import functools

import pytest
import torch
from layouts import CONFIGS, batch_of, error, rules_of, said, tiny

from es_trl.micro_batches.segments import hands_on
from es_trl.trainer.forward import backbone_of


SEGMENTED = ("packed", "shared")
MASKED = {
    "gpt_neo": "`attn_implementation: eager`, only with sdpa",
    "gpt_oss": "`attn_implementation: eager`, only with sdpa",
    "bloom": "`attn_implementation: eager`, only with sdpa",
    "mamba": "`attn_implementation: eager`, only with sdpa",
    "jamba": "layers without attention",
    "falcon_h1": "layers without attention",
    "lfm2": "layers without attention",
    "falcon": "a model that does not hand `segments` on to its attention",
    "nemotron": "a model that does not hand `segments` on to its attention",
    "stablelm": "a model that does not hand `segments` on to its attention",
}
TRLS = {"opt": "a model that counts positions by the attention mask"}


@functools.cache
def model_of(kind):
    return tiny(kind)


@pytest.mark.parametrize("kind", CONFIGS)
def test_which_layouts_a_family_gets(kind):
    found, reason = rules_of(model_of(kind)).layouts, MASKED.get(kind) or TRLS.get(kind)
    assert found == (("masked",) if kind in MASKED else () if kind in TRLS else SEGMENTED)
    if reason is not None:
        with pytest.raises(ValueError, match="`shared_prefixes` is set but cannot work with") as raised:
            rules_of(model_of(kind), shared_prefixes=True)
        assert reason in str(raised.value)


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_family_is_as_trl_in_each_of_its_layouts(kind):
    model = model_of(kind)
    expected = said(model, batch_of(), None)
    assert expected.logps.std() > 0.1 and torch.isfinite(expected.logps).all()
    layouts = rules_of(model).layouts
    if layouts == SEGMENTED:
        layouts = (*layouts, "trimmed")  # as on a GPU
    errors = {layout: error(expected, said(model, batch_of(), layout)) for layout in layouts}
    assert {layout: each for layout, each in errors.items() if each > 1e-5} == {}


@pytest.mark.parametrize("kind", ["mistral", "qwen2", "gemma2", "gemma3_text", "phi3", "olmo3", "cohere2", "mixtral"])
def test_windows_hide_something(kind):
    whole = tiny(kind, **({"use_sliding_window": False} if kind == "qwen2" else {"sliding_window": 64}))
    assert error(said(model_of(kind), batch_of(), None), said(whole, batch_of(), "packed")) > 1e-2


@pytest.mark.parametrize("kind", ["falcon", "nemotron", "stablelm", "gpt_neo", "gpt_oss", "bloom"])
@pytest.mark.parametrize("layout", SEGMENTED)
def test_a_model_that_loses_the_segments_fails_and_does_not_mix_them(kind, layout):
    with pytest.raises((RuntimeError, ValueError)):
        said(model_of(kind), batch_of(), layout)


def test_what_reaches_the_attention_is_found_without_weights():
    for kind, expected in {"llama": (True, True), "nemotron": (False, True), "falcon": (False, False)}.items():
        backbone = backbone_of(model_of(kind)).to("meta")
        assert (hands_on(backbone, "segments"), hands_on(backbone, "position_ids")) == expected
        assert backbone.config._attn_implementation == "sdpa"
    model_of.cache_clear()


@pytest.mark.parametrize(
    ("kind", "expected"), [("llama", "flash"), ("falcon", "masked"), ("falcon_h1", "masked"), ("jamba", "masked")]
)
def test_one_row_for_flash_attention_only_where_positions_tell_it_apart(kind, expected):
    model = tiny(kind)
    model.config._attn_implementation = "flash_attention_2"
    assert rules_of(model).layouts == (expected,)
    assert rules_of(model, pad_to_multiple_of=8).layouts == ("masked",)


def test_rules():
    model = model_of("llama")
    assert rules_of(model, shared_prefixes=False).layouts == ("packed",)
    assert rules_of(model, shared_prefixes=True).layouts == ("shared",)
    assert rules_of(model, pad_to_multiple_of=8).layouts == ("masked",)
    assert rules_of(model, aux_loss_enabled=True).layouts == ("masked",)
    off = [{"_is_vlm": True}, {"n_gpu": 2}, {"optim": "lomo"}, {"torch_compile": True}, {"neftune_noise_alpha": 5.0}]
    for changes in ({"micro_batches": "completions"}, *off):
        assert (rules_of(model, **changes).layouts, rules_of(model, **changes).group) == ((), 1)
    for changes in off:
        with pytest.raises(ValueError, match="`max_tokens_per_micro_batch` is set but cannot work with"):
            rules_of(model, max_tokens_per_micro_batch=64, **changes)
    # losses that couple the completions of TRL's micro-batch keep it
    for changes in ({"loss_type": "bnpo"}, {"entropy_coef": 0.1}, {"aux_loss_enabled": True}):
        assert (rules_of(model, **changes).keeps, rules_of(model, **changes).group) == (True, 1)
    assert (rules_of(model).keeps, rules_of(model).group) == (False, 4)
    assert rules_of(model, gradient_accumulation_steps=6, steps_per_generation=4).group == 2


def test_an_adapter_that_learns_a_prompt_takes_trls_path():
    peft = pytest.importorskip("peft")
    config = peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2)
    assert rules_of(peft.get_peft_model(tiny("llama"), config)).layouts == ()
