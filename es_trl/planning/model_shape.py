"""The shape of a model, as far as memory and time go: sizes of its layers, and how many parameters they have."""

from dataclasses import dataclass
from typing import Any


class NoEstimateError(Exception):
    """Something is not known that an estimate needs; a plan says what, in one line, and goes on."""


@dataclass(frozen=True)
class ModelShape:
    """
    A decoder of the Llama family: grouped attention, a gated MLP, RMSNorm.

    Args:
        hidden (`int`), layers (`int`), intermediate (`int`), vocab (`int`):
            Sizes.
        heads (`int`), kv_heads (`int`), head_dim (`int`):
            Of the attention.
        tied (`bool`):
            Whether the embedding is the output head, too.
        qkv_bias (`bool`), qk_norm (`bool`):
            What Qwen2 and Qwen3 have beside Llama.
        max_positions (`int`):
            Tokens of the longest sequence that the model takes.
    """

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocab: int
    tied: bool
    qkv_bias: bool = False
    qk_norm: bool = False
    max_positions: int = 131_072

    @property
    def attention(self) -> int:
        """Width of the queries, and of what the attention returns."""
        return self.heads * self.head_dim

    @property
    def linears(self) -> dict[str, tuple[int, int]]:
        """The linear maps of a layer: their inputs and outputs."""
        keys = self.kv_heads * self.head_dim
        return {
            "q_proj": (self.hidden, self.attention),
            "k_proj": (self.hidden, keys),
            "v_proj": (self.hidden, keys),
            "o_proj": (self.attention, self.hidden),
            "gate_proj": (self.hidden, self.intermediate),
            "up_proj": (self.hidden, self.intermediate),
            "down_proj": (self.intermediate, self.hidden),
        }

    @property
    def _maps(self) -> int:
        return sum(inputs * outputs for inputs, outputs in self.linears.values())

    @property
    def linear_parameters(self) -> int:
        """Weights of all linear maps but the head: what 4-bit loading packs."""
        return self.layers * self._maps

    @property
    def embedding(self) -> int:
        """Parameters of the embedding, and of the head."""
        return self.vocab * self.hidden

    @property
    def layer(self) -> int:
        """Parameters of one layer."""
        bias = sum(self.linears[name][1] for name in ("q_proj", "k_proj", "v_proj")) if self.qkv_bias else 0
        return self._maps + bias + 2 * self.hidden + (2 * self.head_dim if self.qk_norm else 0)

    @property
    def parameters(self) -> int:
        """All parameters."""
        return (1 if self.tied else 2) * self.embedding + self.layers * self.layer + self.hidden

    @property
    def kv_bytes(self) -> int:
        """Bytes that one token takes in a KV cache of 16-bit numbers."""
        return 2 * self.layers * self.kv_heads * self.head_dim * 2


@dataclass(frozen=True)
class Adapter:
    """
    A LoRA adapter.

    Args:
        rank (`int`):
            Its rank.
        targets (`tuple[str, ...]`):
            Linear maps of each layer that it is on.
        dropout (`bool`):
            Whether it drops some of its inputs.
    """

    rank: int
    targets: tuple[str, ...]
    dropout: bool = False

    def parameters(self, shape: ModelShape) -> int:
        """Parameters of the adapter."""
        return shape.layers * self.rank * sum(sum(shape.linears[name]) for name in self.targets)

    def inputs(self, shape: ModelShape) -> int:
        """Widths of what its maps of one layer read, in all."""
        return sum(shape.linears[name][0] for name in self.targets)


# What the recipes name, so that a plan needs no network; from the config.json of each.
QWEN_32B = ModelShape(5120, 64, 40, 8, 128, 27_648, 152_064, tied=False, qkv_bias=True)
SHAPES = {
    "Qwen/Qwen2.5-1.5B": ModelShape(1536, 28, 12, 2, 128, 8960, 151_936, tied=True, qkv_bias=True),
    "Qwen/Qwen2.5-7B": ModelShape(3584, 28, 28, 4, 128, 18_944, 152_064, tied=False, qkv_bias=True),
    "Qwen/Qwen2.5-32B": QWEN_32B,
    "BytedTsinghua-SIA/DAPO-Qwen-32B": QWEN_32B,
}
MODEL_TYPES = ("llama", "mistral", "qwen2", "qwen3")


def shape_of(name: str, revision: str = "main") -> ModelShape:
    """
    The shape of a model.

    Args:
        name (`str`):
            A name on the Hub, or a folder with a `config.json`.
        revision (`str`):
            Of the Hub's repository.

    Raises:
        NoEstimateError: where it cannot be read, or is of a kind that this file does not know.
    """
    if name in SHAPES:
        return SHAPES[name]
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(name, revision=revision)
    except (OSError, ValueError) as error:
        raise NoEstimateError(f"the config of {name} cannot be read ({str(error).splitlines()[0]})") from None
    return from_config(config)


def from_config(config: Any) -> ModelShape:
    """
    The shape that a `PretrainedConfig` describes.

    Raises:
        NoEstimateError: for another kind of model, extra biases, and weights that are quantized already.
    """
    kind = config.model_type
    extras = ("attention_bias", "mlp_bias", "quantization_config")
    extra = next((name for name in extras if getattr(config, name, None)), None)
    if kind not in MODEL_TYPES or extra is not None:
        why = f"its model_type is {kind}" if extra is None else f"its config has {extra}"
        raise NoEstimateError(f"{why}, and the arithmetic is that of {', '.join(MODEL_TYPES)} without it")
    return ModelShape(
        hidden=config.hidden_size,
        layers=config.num_hidden_layers,
        heads=config.num_attention_heads,
        kv_heads=config.num_key_value_heads,
        head_dim=getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads,
        intermediate=config.intermediate_size,
        vocab=config.vocab_size,
        tied=config.tie_word_embeddings,
        qkv_bias=kind == "qwen2",
        qk_norm=kind == "qwen3",
        max_positions=config.max_position_embeddings,
    )
