"""What tiny models say about a small batch in each layout, through TRL's own forward pass, for tests of layouts."""

import functools
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
from accelerate import Accelerator
from compared_runs import relative_error
from tiny_models import EXPERTS, SIZES
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel
from trl import GRPOTrainer
from trl.trainer.utils import add_fused_lm_head

from es_trl.trainer.forward import Forward
from es_trl.trainer.micro_batches import Cutting, cutting_of


VOCABULARY = SIZES["vocab_size"]
WIDE = {**SIZES, "initializer_range": 0.15}  # large weights: the tokens differ in what they see
WINDOW = {"sliding_window": 6}
ALTERNATING = {**WINDOW, "layer_types": ["sliding_attention", "full_attention"]}
NO_DROPOUT = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
OLD = {"vocab_size": VOCABULARY, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64, "initializer_range": 0.15,
       "bos_token_id": 1, "eos_token_id": 1, **NO_DROPOUT}  # fmt: skip
LATENT = {"q_lora_rank": 16, "kv_lora_rank": 16, "qk_rope_head_dim": 8, "v_head_dim": 8, "qk_nope_head_dim": 8,
          "n_group": 1, "topk_group": 1, "first_k_dense_replace": 1, "n_shared_experts": 1, "n_routed_experts": 4,
          "num_experts_per_tok": 2, "moe_intermediate_size": 16, "num_key_value_heads": 4}  # fmt: skip
MAMBA = {"mamba_d_state": 8, "mamba_n_groups": 1}
CONFIGS: dict[str, dict[str, Any]] = {
    "llama": {},
    "qwen2": {"use_sliding_window": True, **WINDOW, "max_window_layers": 1},
    "qwen3": {"head_dim": 8},
    "mistral": WINDOW,
    "gemma2": {**WINDOW, "head_dim": 8, "query_pre_attn_scalar": 8, "final_logit_softcapping": 3.0},
    "gemma3_text": {**ALTERNATING, "head_dim": 8, "query_pre_attn_scalar": 8},
    "phi3": {**WINDOW, "resid_pdrop": 0.0},
    "gpt2": OLD,
    "olmo2": {},
    "olmo3": ALTERNATING,
    "smollm3": {},
    "granite": {"logits_scaling": 2.0},
    "cohere2": ALTERNATING,
    "gpt_neox": {},
    "starcoder2": {**WINDOW, "residual_dropout": 0.0, "embedding_dropout": 0.0},
    "mixtral": {**WINDOW, "num_local_experts": 4, "num_experts_per_tok": 2},
    "qwen3_moe": {**EXPERTS, "num_experts": 4},
    "deepseek_v3": LATENT,
    # one layout less: attention of another kind, or arguments that do not reach it
    "gpt_neo": {"hidden_size": 32, "num_layers": 2, "num_heads": 4, "attention_types": [[["global", "local"], 1]],
                "window_size": 6, "resid_dropout": 0.0, "embed_dropout": 0.0},
    "gpt_oss": {**ALTERNATING, "num_local_experts": 4, "num_experts_per_tok": 2, "head_dim": 8},
    "bloom": {"hidden_size": 32, "n_layer": 2, "n_head": 4, "hidden_dropout": 0.0, "attention_dropout": 0.0},
    "falcon": {"hidden_dropout": 0.0, "attention_dropout": 0.0},
    "nemotron": {},
    "stablelm": {},
    "mamba": {"state_size": 8},
    "jamba": {**EXPERTS, "num_experts": 4, "mamba_d_state": 8, "mamba_dt_rank": 4, "attn_layer_period": 2,
              "attn_layer_offset": 1, "expert_layer_offset": 1, "use_mamba_kernels": False},
    "falcon_h1": {**MAMBA, "mamba_d_ssm": 32, "mamba_n_heads": 4, "mamba_d_head": 8},
    "lfm2": {"layer_types": ["conv", "full_attention"]},
    "opt": {"ffn_dim": 48, "word_embed_proj_dim": 32, "dropout": 0.0},
}  # fmt: skip
WITHOUT_SIZES = {"gpt2"}


def accelerator() -> Accelerator:
    return Accelerator(cpu=True)


def tiny(kind: str, **changes: Any) -> PreTrainedModel:
    """A model of `CONFIGS` in float32 with random weights and TRL's head, ready for training."""
    sizes = {} if kind in WITHOUT_SIZES else WIDE
    config = AutoConfig.for_model(kind, **{**sizes, **CONFIGS[kind], **changes})
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).float().train()
    add_fused_lm_head(model, outputs=("log_probs", "entropy"))
    return model


# tokens of each prompt and of each completion; rows 1 to 3 have one prompt, and the completion of row 3 is masked
LENGTHS = [(9, 11), (3, 4), (3, 1), (3, 0), (1, 7), (5, 10)]


def batch_of(lengths: list[tuple[int, int]] = LENGTHS, same: tuple[int, ...] = (1, 2, 3)) -> dict[str, torch.Tensor]:
    """Random prompts and completions in TRL's layout; the rows in `same` have the same prompt."""
    random = torch.Generator().manual_seed(0)
    batch = {}
    for name, column in (("prompt", 0), ("completion", 1)):
        counts = torch.tensor([each[column] for each in lengths]).unsqueeze(1)
        width = max(int(counts.max()), 2)
        ids = torch.randint(3, VOCABULARY, (len(lengths), width), generator=random)
        if name == "prompt":
            for row in same[1:]:
                ids[row, -lengths[row][0] :] = ids[same[0], -lengths[row][0] :]
        columns = torch.arange(width)
        mask = columns >= width - counts if name == "prompt" else columns < counts
        batch |= {f"{name}_ids": ids * mask, f"{name}_mask": mask.long()}
    return batch


@dataclass
class Said:
    """What a model says about a batch, and the gradients of a sum of it."""

    logps: torch.Tensor
    entropies: torch.Tensor
    clamped: torch.Tensor | None
    aux_loss: torch.Tensor | None
    gradients: dict[str, torch.Tensor]


def said(
    model: torch.nn.Module,
    batch: dict[str, torch.Tensor],
    layout: str | None,
    clamp: float = 0.0,
    multiple_of: int = 1,
    prompt_width: int | None = None,
    aux_weight: float = 0.0,
) -> Said:
    """Return what the model says in a layout; `None` is TRL's own."""
    trainer = SimpleNamespace(accelerator=accelerator())
    trl = functools.partial(GRPOTrainer._get_per_token_logps_and_entropies, trainer)
    forward = Forward(trl, accelerator(), layout, multiple_of, clamp)
    others = {"compute_entropy": True, "compute_aux_loss": aux_weight > 0.0}
    model.zero_grad(set_to_none=True)
    found = forward(model, batch, prompt_width or batch["prompt_ids"].shape[1], **others)
    mask = batch["completion_mask"]
    weights = torch.linspace(0.5, 1.5, mask.numel()).view_as(mask) * mask
    total = (found.logps * weights).sum() + 0.3 * (found.entropies * weights).sum()
    if found.clamped is not None:
        total = total + 0.2 * (found.clamped * weights).sum()
    if found.aux_loss is not None:
        total = total + aux_weight * found.aux_loss
    total.backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    columns = [None if each is None else each.detach() * mask for each in found[:3]]
    return Said(*columns, None if found.aux_loss is None else found.aux_loss.detach(), gradients)


def error(expected: Said, found: Said) -> float:
    """The largest of the errors in the columns, in nats, and of the relative error of the gradients."""
    pairs = [(getattr(expected, name), getattr(found, name)) for name in ("logps", "entropies", "clamped", "aux_loss")]
    errors = [(first - second).abs().max().item() for first, second in pairs if first is not None]
    assert [first is None for first, _ in pairs] == [second is None for _, second in pairs]
    return max(*errors, relative_error(expected.gradients, found.gradients))


def rules_of(model: torch.nn.Module, **changes: Any) -> Cutting:
    """Return what the trainer decides for a model; `changes` are fields of its configuration."""
    fields = {
        "micro_batches": "tokens", "loss_type": "dapo", "top_entropy_quantile": 1.0, "entropy_coef": 0.0,
        "use_adaptive_entropy": False, "max_tokens_per_micro_batch": None, "shared_prefixes": None, "n_gpu": 1,
        "optim": "adamw_torch", "gradient_accumulation_steps": 4, "steps_per_generation": 4, "torch_compile": False,
        "neftune_noise_alpha": None,
    }  # fmt: skip
    own = {"aux_loss_enabled": False, "pad_to_multiple_of": None, "_is_vlm": False}
    own |= {name: changes.pop(name) for name in list(changes) if name in own}
    trainer = SimpleNamespace(
        args=SimpleNamespace(**{**fields, **changes}), accelerator=accelerator(), model=model, **own
    )
    return cutting_of(trainer, [])
