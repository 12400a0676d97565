"""Completions that are sampled from a part of the policy only, by `top_p`, `top_k` or `min_p`.

The loss and the measured entropy are those of the whole policy. vLLM returns log-probabilities of the part, normalized
within it. So the ratio of the two is the probability of the part, although nothing has changed between them. Measured
on Qwen2.5-1.5B-Instruct, its mean is 0.90 with top_p 0.8 (https://github.com/huggingface/trl/pull/7269).
"""

from typing import Any


_WHOLE: dict[str, tuple[Any, ...]] = {  # the values with which every token can be sampled
    "top_p": (1, None),
    "top_k": (0, -1, None),
    "min_p": (0, None),
    "typical_p": (1, None),
    "epsilon_cutoff": (0, None),
    "eta_cutoff": (0, None),
    "do_sample": (True, None),
}


def truncations(args: Any) -> str:
    """Return the fields of a configuration by which likelier tokens alone are sampled, as text; empty for none."""
    given = args.generation_kwargs or {}  # these count more than the fields
    values = {name: given.get(name, getattr(args, name, None)) for name in _WHOLE}
    return " and ".join(f"{name} {value}" for name, value in values.items() if value not in _WHOLE[name])


def _biases_ratios(args: Any) -> bool:
    return bool(args.use_vllm and args.vllm_importance_sampling_correction and truncations(args))


def check_truncation(args: Any) -> None:
    """Raise `ValueError` where the ratios of whole completions, multiplied over their tokens, would fall to 0."""
    if _biases_ratios(args) and args.vllm_importance_sampling_mode.startswith("sequence"):
        raise ValueError(
            f"`vllm_importance_sampling_mode` must be token_truncate with {truncations(args)}, got "
            f"{args.vllm_importance_sampling_mode}, because vLLM's log-probabilities are of the truncated policy and "
            "the product of their ratios falls to 0: set token_truncate, or top_p: 1, top_k: 0 and min_p: 0"
        )


def truncation_warning(args: Any) -> str | None:
    """Return a warning for a run whose completions are sampled from a part of the policy, or `None`."""
    if not truncations(args):
        return None
    also = ""
    if _biases_ratios(args):
        also = ", and vLLM's ratios lower the weight of each token by the probability of the part"
    return (
        f"{truncations(args)} samples from a part of the policy, but entropy and the loss are those of all tokens"
        f"{also}: set top_p: 1, top_k: 0 and min_p: 0"
    )
