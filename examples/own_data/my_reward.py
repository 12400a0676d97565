"""A reward of your own: how good is an expression over the given numbers?"""

import re


# digits with + - * between them and nothing else: safe to evaluate
EXPRESSION = re.compile(r"\d(?:[+*-]\d)*")


def my_reward(completions, numbers, goal, **columns):
    """
    Return one number per completion. `numbers` and `goal` are columns of the data.

    It is 1 for the right value, 0.2 for the right numbers, and else 0.
    """
    rows = zip(completions, numbers, goal, strict=True)
    return [score(text, given.split(), value) for text, given, value in rows]


def score(text, given, value):
    digits = re.findall(r"\d", text)
    if not EXPRESSION.fullmatch(text) or sorted(digits) != sorted(given):
        return 0.0
    return 1.0 if eval(text) == value else 0.2
