"""Tasks within the reach of SmolLM2: `python benchmarks/smollm_tasks.py models/smollm2 > results/smollm/tasks.md`.

Each task is sampled at temperature 1, 32 prompts x 16 completions, and judged by the math reward. It takes about ten
minutes on one core. Completions to plain text have at most 8 tokens, those to chats 16.
"""

import random
import statistics
import sys
from collections.abc import Callable, Iterator

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from es_trl.evaluation.sampling import Sampling, TransformersSampler
from es_trl.lab.word_sums import in_words, word_sums
from es_trl.rewards import math_reward


PROMPTS, COMPLETIONS = 32, 16
LONGEST = {str: 8, list: 16}  # tokens of a completion; the answer to a chat is a sentence
WORDS = "Two plus three is 5.\nSix minus two is 4.\nThree times three is 9.\n"
SIGNS = "2+3=5\n6-2=4\n3*3=9\n"
STORIES = "Tom has 3 apples and gets 4 more. Now Tom has 7 apples.\nAnn has 9 books and loses 2. Now Ann has 7 books.\n"
Ask = Callable[[int, int], str]


def chat(text: str) -> list[dict[str, str]]:
    """Return a chat of one message."""
    return [{"role": "user", "content": text}]


def tasks() -> Iterator[tuple[str, list[str | list[dict[str, str]]], list[str]]]:
    """Yield name, prompts and right answers of each task."""
    rng = random.Random(0)
    pairs = [(rng.randint(1, 9), rng.randint(1, 9)) for _ in range(PROMPTS)]
    larger = [(rng.randint(10, 30), rng.randint(10, 30)) for _ in range(PROMPTS)]
    sums: dict[str, Ask] = {
        "chat, `What is 7 + 5?`": lambda a, b: chat(f"What is {a} + {b}?"),
        "chat, `What is 7 + 5? Answer with a number.`": lambda a, b: chat(f"What is {a} + {b}? Answer with a number."),
        "`7 + 5 =`": lambda a, b: f"{a} + {b} =",
        "three lines as `2+3=5`, then `7+5=`": lambda a, b: f"{SIGNS}{a}+{b}=",
        "two questions and answers, then `Q: What is 7 + 5?`": lambda a, b: (
            f"Q: What is 2 + 3?\nA: 5\nQ: What is 6 - 2?\nA: 4\nQ: What is {a} + {b}?\nA:"
        ),
        "two stories, then `Bob has 7 pens and gets 5 more. Now Bob has`": lambda a, b: (
            f"{STORIES}Bob has {a} pens and gets {b} more. Now Bob has"
        ),
    }
    for name, ask in sums.items():
        yield name, [ask(*pair) for pair in pairs], [str(a + b) for a, b in pairs]
    name = "three lines in words, then `Twenty-one plus fifteen is`"
    said = [(in_words(a - 1).capitalize(), in_words(b - 1)) for a, b in larger]
    yield name, [f"{WORDS}{a} plus {b} is" for a, b in said], [str(a + b - 2) for a, b in larger]
    rows = [row for part in word_sums() for row in part]
    for level, example in ((1, "Seven times five is"), (2, "Seven plus five is"), (3, "Twelve minus five is")):
        own = rng.sample([row for row in rows if row["level"] == level], PROMPTS)
        name = f"**three lines in words, then `{example}` (level {level})**"
        yield name, [f"{WORDS}{row['question']} is" for row in own], [str(row["answer"]) for row in own]


def main(folder: str) -> None:
    """Print the table of all tasks."""
    torch.set_num_threads(1)
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    print("# Tasks within the reach of SmolLM2-135M-Instruct\n")
    print(
        "| task | tokens of the prompt | accuracy | some right, some wrong | tokens | cut |\n|---|---|---|---|---|---|"
    )
    for name, prompts, golds in tasks():
        ids = [
            tokenizer(prompt)["input_ids"]
            if isinstance(prompt, str)
            else tokenizer.apply_chat_template(prompt, add_generation_prompt=True, return_dict=True)["input_ids"]
            for prompt in prompts
        ]
        sampling = Sampling(max_new_tokens=LONGEST[type(prompts[0])])
        made = TransformersSampler(model, tokenizer, sampling).sample(ids, COMPLETIONS, seed=0)
        golds = [gold for gold in golds for _ in range(COMPLETIONS)]
        right = [reward > 0 for reward in math_reward([each.text for each in made], golds)]
        groups = [sum(right[row : row + COMPLETIONS]) for row in range(0, len(right), COMPLETIONS)]
        cells = (
            f"{statistics.mean(map(len, ids)):.0f}",
            f"{statistics.mean(right):.3f}",
            f"{statistics.mean(0 < group < COMPLETIONS for group in groups):.2f}",
            f"{statistics.mean(len(each.ids) for each in made):.1f}",
            f"{statistics.mean(each.truncated for each in made):.2f}",
        )
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
    print("\nThe rows in bold are the task of `recipes/smollm_es.yaml`.")
    print("\nMade by `python benchmarks/smollm_tasks.py models/smollm2`.")


if __name__ == "__main__":
    main(*sys.argv[1:])
