"""A reward of your own: how good is an expression over the given numbers?"""

import re


EXPRESSION = re.compile(r"\d(?:[+*-]\d)*")  # digits with + - * between them, and nothing else: safe to evaluate


def my_reward(completions, numbers, goal, **columns):
    """
    Return 1 for an expression with the right value, 0.2 for one that only uses the right numbers, else 0.

    `numbers` and `goal` are columns of the dataset, with one value per completion.
    """
    return [score(text, given.split(), value) for text, given, value in zip(completions, numbers, goal, strict=True)]


def score(text, given, value):
    if not EXPRESSION.fullmatch(text) or sorted(re.findall(r"\d", text)) != sorted(given):
        return 0.0
    return 1.0 if eval(text) == value else 0.2
