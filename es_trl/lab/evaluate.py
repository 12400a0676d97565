"""pass@k of a Countdown model: `python -m es_trl.lab.evaluate [MODEL_DIR]`.

The prompts are drawn with a seed of their own. The task has few distinct ones (about 5,700 among 20,000 of three
numbers), so nearly all occur in training too: this measures what was learned, not how it carries over.
"""

import argparse
import json

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from ..pass_at_k import count_correct, summarize
from . import BASE_MODEL, countdown_dataset, countdown_reward


EVALUATION_SEED = 1_000_000  # training draws its prompts with the run's seed
SAMPLES = 64


def evaluate_model(model_dir: str, num_prompts: int = 500) -> dict[str, dict[str, float]]:
    """
    Return pass@1 (the accuracy), pass@8 and pass@64 at temperature 1, for prompts of three and of four numbers.

    Args:
        model_dir (`str`):
            Folder with a model and its tokenizer.
        num_prompts (`int`):
            Prompts of each kind, with 64 completions each.
    """
    model = AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(model_dir)
    return {f"{count} numbers": score(model, tokenizer, count, num_prompts) for count in (3, 4)}


def score(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, count: int, num_prompts: int = 500
) -> dict[str, float]:
    """Return pass@1, pass@8 and pass@64 on prompts of `count` numbers; other arguments as in [`evaluate_model`]."""
    dataset = countdown_dataset(num_prompts, seed=EVALUATION_SEED, num_numbers=(count,))
    counts = count_correct(model, tokenizer, dataset, countdown_reward, samples=SAMPLES)
    return {name: round(value, 4) for name, value in summarize(counts, SAMPLES).items()}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model_dir", nargs="?", default=BASE_MODEL, help="the lab's base where unset")
    parser.add_argument("--num_prompts", type=int, default=500)
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    print(json.dumps(evaluate_model(args.model_dir, args.num_prompts), indent=2))


if __name__ == "__main__":
    main()
