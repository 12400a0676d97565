"""Sizes and parameter counts of a model. The model is built from its config on the meta device, without weights."""

from dataclasses import dataclass

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig


class NoProjectionError(Exception):
    """The projection does not cover a model, a recipe or a launch. The plan then prints only the reason."""


@dataclass(frozen=True)
class ModelShape:
    """Sizes of a decoder model."""

    kind: str  # the config's `model_type`
    hidden: int  # width between layers
    layers: int
    vocab: int
    max_positions: int  # tokens of the longest sequence
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int  # width of a layer's MLP, or of all experts that one token uses
    linears: dict[str, list[tuple[int, int]]]  # inputs and outputs of the linear maps in all layers, by name
    parameters: int
    active: int  # parameters that one token uses
    layer: int  # parameters of the largest layer
    embedding: int  # parameters of the embedding; the head has as many
    tied: bool  # whether embedding and head share their weights

    @property
    def attention(self) -> int:
        """Width of the queries, and of the output of the attention."""
        return self.heads * self.head_dim

    @property
    def linear_parameters(self) -> int:
        """Weights of all linear maps except the head. 4-bit loading packs these."""
        return sum(inputs * outputs for maps in self.linears.values() for inputs, outputs in maps)

    @property
    def kv_bytes(self) -> int:
        """Bytes of one token in a KV cache of 16-bit numbers."""
        return 2 * self.layers * self.kv_heads * self.head_dim * 2


# Numbers from the config.json of the models that recipes name, so that their plans need no network
_FIELDS = ("hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "intermediate_size",
           "vocab_size", "tie_word_embeddings")  # fmt: skip
CONFIGS = {
    "Qwen/Qwen2.5-1.5B": (1536, 28, 12, 2, 8960, 151_936, True),
    "Qwen/Qwen2.5-7B": (3584, 28, 28, 4, 18_944, 152_064, False),
    "Qwen/Qwen2.5-32B": (5120, 64, 40, 8, 27_648, 152_064, False),
    "BytedTsinghua-SIA/DAPO-Qwen-32B": (5120, 64, 40, 8, 27_648, 152_064, False),
}
_CACHED = {
    "full_attention",
    "sliding_attention",
    "chunked_attention",
}  # layers with a KV cache, which counts as a full one


def shape_of(name: str, revision: str = "main") -> ModelShape:
    """Return the shape of a model, given its name on the Hub or its folder with a `config.json`."""
    if name in CONFIGS:
        sizes = dict(zip(_FIELDS, CONFIGS[name], strict=True))
        return from_config(AutoConfig.for_model("qwen2", max_position_embeddings=131_072, **sizes))
    try:
        config = AutoConfig.from_pretrained(name, revision=revision)
    except (OSError, ValueError) as error:
        raise NoProjectionError(f"the config of {name} cannot be read ({str(error).splitlines()[0]})") from None
    return from_config(config)


def from_config(config: PretrainedConfig) -> ModelShape:
    """Return the shape that a config describes, or raise `NoProjectionError` if the projection does not cover it."""
    text = config.get_text_config()
    unknown = [name for name in ("quantization_config", "kv_lora_rank") if getattr(config, name, None)]
    unknown += sorted(set(getattr(text, "layer_types", None) or ()) - _CACHED)
    if unknown:
        raise NoProjectionError(f"the projection does not cover {unknown[0]} of the model's config")
    try:
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config)
        return _measured(model, text)
    except Exception as error:  # a config that does not fit fails in many ways in transformers
        reason = str(error).partition("\n")[0]
        raise NoProjectionError(f"the model's {config.model_type} config gives no language model ({reason})") from None


def _measured(model: torch.nn.Module, text: PretrainedConfig) -> ModelShape:
    count = text.num_hidden_layers
    layers = next(m for m in model.modules() if isinstance(m, torch.nn.ModuleList) and len(m) == count)
    linears: dict[str, list[tuple[int, int]]] = {}
    for name, module in layers.named_modules():
        if isinstance(module, torch.nn.Linear):
            linears.setdefault(name.rpartition(".")[2], []).append((module.in_features, module.out_features))
    width = getattr(text, "intermediate_size", None) or 4 * text.hidden_size  # the default of classes without the field
    parameters = active = sum(p.numel() for p in model.parameters())
    experts = [p for p in layers.parameters() if p.ndim == 3]  # experts x inputs x outputs
    if experts:
        width = text.num_experts_per_tok * (getattr(text, "moe_intermediate_size", None) or width)
        width += getattr(text, "shared_expert_intermediate_size", None) or 0
        active -= sum(p[0].numel() * (len(p) - text.num_experts_per_tok) for p in experts)
    embedding, heads = model.get_input_embeddings().weight, text.num_attention_heads
    return ModelShape(
        kind=text.model_type, hidden=text.hidden_size, layers=count, vocab=text.vocab_size,
        max_positions=text.max_position_embeddings, heads=heads, linears=linears, intermediate=width,
        kv_heads=getattr(text, "num_key_value_heads", None) or heads,
        head_dim=getattr(text, "head_dim", None) or text.hidden_size // heads,
        layer=max(sum(p.numel() for p in layer.parameters()) for layer in layers),
        tied=model.get_output_embeddings().weight is embedding,
        parameters=parameters, active=active, embedding=embedding.numel(),
    )  # fmt: skip
