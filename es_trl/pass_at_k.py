"""Accuracy and unbiased pass@k of a model on prompts with a verifiable reward."""

import math
from collections.abc import Callable, Sequence

import torch
from datasets import Dataset
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase


def pass_at_k(samples: int, correct: int, k: int) -> float:
    """
    Unbiased estimate of the chance that one of `k` samples is right (paper, Eq. 6).

    Args:
        samples (`int`), correct (`int`):
            Samples drawn for a prompt, and how many of them were right.
        k (`int`):
            At least 1, at most `samples`.

    Raises:
        ValueError: where `k` or `correct` is out of range.
    """
    if not 1 <= k <= samples or not 0 <= correct <= samples:
        raise ValueError(f"pass@{k} of {correct} right among {samples} samples: set k from 1 to the number of samples")
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
    Sample every prompt at temperature 1 and count the answers with a reward above 0.

    Args:
        model (`PreTrainedModel`), tokenizer (`PreTrainedTokenizerBase`):
            The policy; its tokenizer pads on the left.
        dataset (`Dataset`):
            Rows with a text `prompt` and the columns that `reward` reads.
        reward (reward function):
            Called as TRL calls it.
        samples (`int`):
            Completions a prompt.
        max_new_tokens (`int`):
            Tokens a completion may have.
        seed (`int`):
            Seed of the sampling; torch's own random state is afterwards what it was.

    Returns:
        `list[int]`: right answers per prompt, each from 0 to `samples`.
    """
    was_training = model.training
    model.eval()
    config = GenerationConfig(
        max_new_tokens=max_new_tokens,
        do_sample=True,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        num_return_sequences=samples,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    counts = []
    prompts_per_batch = max(1, 1024 // samples)
    # in the middle of a run it must not move the run's own random numbers
    with torch.random.fork_rng([model.device] if model.device.type == "cuda" else []):
        torch.manual_seed(seed)
        for start in range(0, len(dataset), prompts_per_batch):
            rows = dataset[start : start + prompts_per_batch]
            inputs = tokenizer(rows["prompt"], return_tensors="pt", padding=True).to(model.device)
            ids = model.generate(**inputs, generation_config=config)[:, inputs["input_ids"].shape[1] :]
            texts = tokenizer.batch_decode(ids, skip_special_tokens=True)
            columns = {name: _repeat(values, samples) for name, values in rows.items() if name != "prompt"}
            rewards = torch.tensor(reward(texts, **columns)).view(-1, samples)
            counts.extend((rewards > 0).sum(dim=1).tolist())
    model.train(was_training)
    return counts


def summarize(counts: Sequence[int], samples: int, ks: Sequence[int] = (1, 8, 64)) -> dict[str, float]:
    """Mean pass@k over prompts for each k; pass@1 is the accuracy."""
    return {f"pass@{k}": sum(pass_at_k(samples, count, k) for count in counts) / len(counts) for k in ks}


def _repeat(values: Sequence, times: int) -> list:
    return [value for value in values for _ in range(times)]
