"""Accuracy and unbiased pass@k of a model on prompts with a verifiable reward."""

import math
from collections.abc import Callable, Sequence

import torch
from datasets import Dataset
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase


def pass_at_k(samples: int, correct: int, k: int) -> float:
    """
    Return an unbiased estimate of the probability that at least one of `k` completions is right (paper, Eq. 6).

    Args:
        samples (`int`):
            Number of completions of the prompt.
        correct (`int`):
            Number of right completions among them, from 0 to `samples`.
        k (`int`):
            Number of completions in question, from 1 to `samples`.

    Returns:
        `float`: the estimate, from 0 to 1.

    Raises:
        ValueError: for numbers out of these ranges.
    """
    if not 1 <= k <= samples or not 0 <= correct <= samples:
        words = f"got {k} and {correct}: change them, or take more samples"
        raise ValueError(f"`k` must be from 1 to {samples}, and `correct` from 0 to {samples}, {words}")
    return 1.0 - math.comb(samples - correct, k) / math.comb(samples, k)


@torch.no_grad()
def count_correct(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    dataset: Dataset,
    reward: Callable[..., list[float]],
    samples: int = 64,
    max_new_tokens: int = 16,
    seed: int = 0,
) -> list[int]:
    """
    Return for each prompt how many completions get a reward above 0, sampled at temperature 1.

    Args:
        model (`PreTrainedModel`):
            The policy.
        tokenizer (`PreTrainedTokenizerBase`):
            A tokenizer that pads on the left.
        dataset (`Dataset`):
            Rows with a text column `prompt` and the columns that `reward` reads.
        reward (`Callable[..., list[float]]`):
            A reward function with TRL's signature.
        samples (`int`, *optional*, defaults to `64`):
            Completions per prompt.
        max_new_tokens (`int`, *optional*, defaults to `16`):
            Largest number of tokens per completion.
        seed (`int`, *optional*, defaults to `0`):
            Seed of the sampling. The random state of torch is restored afterwards.

    Returns:
        `list[int]`: one count per prompt.
    """
    was_training = model.training
    model.eval()
    sampling = {"do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": 1.0, "num_return_sequences": samples}
    ends = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id}
    config = GenerationConfig(max_new_tokens=max_new_tokens, **sampling, **ends)
    counts, prompts_per_batch = [], max(1, 1024 // samples)
    # an evaluation during a run must not change the random numbers of the run
    with torch.random.fork_rng([model.device] if model.device.type == "cuda" else []):
        torch.manual_seed(seed)
        for start in range(0, len(dataset), prompts_per_batch):
            rows = dataset[start : start + prompts_per_batch]
            inputs = tokenizer(rows.pop("prompt"), return_tensors="pt", padding=True).to(model.device)
            ids = model.generate(**inputs, generation_config=config)[:, inputs["input_ids"].shape[1] :]
            texts = tokenizer.batch_decode(ids, skip_special_tokens=True)
            columns = {name: [value for value in values for _ in range(samples)] for name, values in rows.items()}
            rewards = torch.tensor(reward(texts, **columns)).view(-1, samples)
            counts.extend((rewards > 0).sum(dim=1).tolist())
    model.train(was_training)
    return counts


def summarize(counts: Sequence[int], samples: int, ks: Sequence[int] = (1, 8, 64)) -> dict[str, float]:
    """
    Return the mean pass@k over prompts; pass@1 is the accuracy.

    Args:
        counts (sequence of `int`):
            Number of right completions of each prompt.
        samples (`int`):
            Completions per prompt.
        ks (sequence of `int`, *optional*, defaults to `(1, 8, 64)`):
            Values of k, each from 1 to `samples`.

    Returns:
        `dict[str, float]`: means by the names `"pass@1"`, `"pass@8"` and so on.
    """
    return {f"pass@{k}": sum(pass_at_k(samples, count, k) for count in counts) / len(counts) for k in ks}
