"""Measure pass@k of a Countdown model: `python -m es_trl.lab.evaluate [MODEL_DIR]`.

The prompts are drawn with their own seed. But the task has few distinct prompts (among 20,000 prompts of three numbers
there are about 5,700), so nearly all of them also occur in training. The result shows whether the model has learned the
task, not how it does on unseen prompts.
"""

import argparse
import json

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from ..pass_at_k import count_correct, summarize
from . import BASE_MODEL, countdown_dataset, countdown_reward
from .prompts import EVALUATION_SEED


SAMPLES = 64  # completions per prompt


def evaluate_model(model_dir: str, num_prompts: int = 500) -> dict[str, dict[str, float]]:
    """
    Return pass@1 (the accuracy), pass@8 and pass@64 at temperature 1, for prompts of three and of four numbers.

    Args:
        model_dir (`str`):
            Folder with a model and its tokenizer.
        num_prompts (`int`, *optional*, defaults to `500`):
            Number of prompts of three numbers, and of four numbers. Each gets 64 completions.

    Returns:
        `dict[str, dict[str, float]]`: values by `"3 numbers"` or `"4 numbers"`, and by `"pass@1"` and so on.
    """
    model = AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(model_dir)
    return {f"{count} numbers": score(model, tokenizer, count, num_prompts) for count in (3, 4)}


def score(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, count: int, num_prompts: int = 500
) -> dict[str, float]:
    """Return pass@1, pass@8 and pass@64 of a model on `num_prompts` prompts of `count` numbers."""
    dataset = countdown_dataset(num_prompts, seed=EVALUATION_SEED, num_numbers=(count,))
    counts = count_correct(model, tokenizer, dataset, countdown_reward, samples=SAMPLES)
    return {name: round(value, 4) for name, value in summarize(counts, SAMPLES).items()}


def main(argv: list[str] | None = None) -> None:
    """Print pass@k of a model as JSON; `argv` are the arguments of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "model_dir", nargs="?", default=BASE_MODEL, help="folder of the model (default: the base model)"
    )
    parser.add_argument("--num_prompts", type=int, default=500)
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    print(json.dumps(evaluate_model(args.model_dir, args.num_prompts), indent=2))


if __name__ == "__main__":
    main()
