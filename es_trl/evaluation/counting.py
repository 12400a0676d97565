"""Right completions of a model in memory, for example while it trains."""

from collections.abc import Sequence

from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..estimates.pass_at_k import table_of
from .judging import judge
from .problems import Problems, Reward, token_ids
from .sampling import Sampling, TransformersSampler
from .units import cut


AT_ONCE = 1024


def count_correct(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    dataset: Dataset,
    reward: Reward,
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
            Its tokenizer.
        dataset (`Dataset`):
            Rows with a column `prompt`, text or chats, and the columns that `reward` reads.
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
    columns = {name: dataset[name][:] for name in dataset.column_names}
    problems = Problems(columns.pop("prompt"), columns)
    prompts = token_ids(problems.prompts, tokenizer, {})
    sampler = TransformersSampler(model, tokenizer, Sampling(max_new_tokens=max_new_tokens))
    order = sorted(range(len(prompts)), key=lambda row: -len(prompts[row]))
    counts = [0] * len(prompts)
    for unit in cut(order, samples, AT_ONCE):
        rows = [row for row, _ in unit.keys]
        made = sampler.sample([prompts[row] for row in unit.problems], len(unit.samples), unit.seed_of(seed))
        for row, value in zip(rows, judge(problems, [reward], rows, made), strict=True):
            counts[row] += value is not None and value > 0
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
    means = table_of(counts, samples, ks).mean(axis=0)
    return {f"pass@{k}": float(mean) for k, mean in zip(ks, means, strict=True)}
