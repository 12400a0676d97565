"""Countdown: combine the given numbers, each exactly once, into an expression that has the target value.

A prompt is `"3 5 2=17:"`, a right answer `"3*5+2"`. The task is verifiable by exact arithmetic, its difficulty is the
count of numbers, and every prompt is solvable by construction.
"""

import random
from collections import Counter
from fractions import Fraction

from datasets import Dataset


MAX_EXPRESSION_CHARS = 64  # longer answers are wrong without being read
_PRECEDENCE = {"+": 1, "-": 1, "*": 2, "/": 2}
_DIGITS = "0123456789"


def countdown_dataset(num_prompts: int, seed: int = 0, num_numbers: tuple[int, ...] = (3,)) -> Dataset:
    """
    Solvable Countdown prompts, the same for the same arguments.

    Args:
        num_prompts (`int`):
            How many rows.
        seed (`int`):
            Seed of the generator; rows of different seeds are independent draws from the same distribution.
        num_numbers (`tuple[int, ...]`):
            The counts of numbers a prompt may have, drawn uniformly. More numbers are harder.

    Returns:
        `Dataset`: columns `prompt` (str), `numbers` (list of int) and `target` (int).
    """
    rng = random.Random(seed)
    rows = [draw_task(rng, rng.choice(num_numbers)) for _ in range(num_prompts)]
    return Dataset.from_list([{"prompt": format_prompt(n, t), "numbers": n, "target": t} for n, t, _ in rows])


def format_prompt(numbers: list[int], target: int) -> str:
    """The prompt text of a task: `format_prompt([3, 5, 2], 17)` is `"3 5 2=17:"`."""
    return f"{' '.join(map(str, numbers))}={target}:"


def draw_task(rng: random.Random, count: int) -> tuple[list[int], int, str]:
    """Numbers, target and one solution: `count` numbers of 1 to 9, operators + - *, target of 1 to 99."""
    while True:
        numbers = [rng.randint(1, 9) for _ in range(count)]
        order = rng.sample(numbers, count)
        expression = str(order[0]) + "".join(rng.choice("+-*") + str(n) for n in order[1:])
        target = evaluate(expression)
        if target is not None and 1 <= target <= 99:
            return numbers, int(target), expression


def countdown_reward(
    completions: list[str], numbers: list[list[int]], target: list[int], **kwargs: object
) -> list[float]:
    """
    +1 for a right expression, -1 for anything else (paper, Eq. 5).

    Args:
        completions (`list[str]`):
            What the model wrote after the prompt.
        numbers (`list[list[int]]`), target (`list[int]`):
            The columns of [`countdown_dataset`], one row a completion.

    Returns:
        `list[float]`: one reward a completion.
    """
    return [
        1.0 if is_solution(text, row, value) else -1.0
        for text, row, value in zip(completions, numbers, target, strict=True)
    ]


def is_solution(expression: str, numbers: list[int], target: int) -> bool:
    """Whether `expression` uses each of `numbers` exactly once and has the value `target`. Never raises."""
    tokens = tokenize(expression)
    if tokens is None or Counter(t for t in tokens if isinstance(t, int)) != Counter(numbers):
        return False
    return evaluate(expression) == target


def tokenize(expression: str) -> list[int | str] | None:
    """Numbers, operators and parentheses of `expression`; `None` where it is too long or holds anything else."""
    if len(expression) > MAX_EXPRESSION_CHARS:
        return None
    tokens: list[int | str] = []
    position = 0
    while position < len(expression):
        char = expression[position]
        end = position
        while end < len(expression) and expression[end] in _DIGITS:
            end += 1
        if end > position:
            if char == "0" and end > position + 1:
                return None  # "03" is not one of the given numbers
            tokens.append(int(expression[position:end]))
            position = end
        elif char in _PRECEDENCE or char in "()":
            tokens.append(char)
            position += 1
        elif char == " ":
            position += 1
        else:
            return None
    return tokens


def evaluate(expression: str) -> Fraction | None:
    """
    Exact value of an expression over + - * / and parentheses, by the shunting-yard method.

    No recursion and no `eval`: text of a model is bounded in time and depth whatever it is.

    Returns:
        `Fraction` or `None`: `None` for anything malformed and for a division by zero.
    """
    tokens = tokenize(expression)
    if tokens is None:
        return None
    values: list[Fraction] = []
    operators: list[str] = []
    expects_value = True  # an expression alternates values and binary operators; there is no unary minus
    for token in tokens:
        if isinstance(token, int) or token == "(":
            if not expects_value:
                return None
            if isinstance(token, int):
                values.append(Fraction(token))
                expects_value = False
            else:
                operators.append(token)
            continue
        if expects_value:
            return None
        if token == ")":
            while operators and operators[-1] != "(":
                if not _apply(operators.pop(), values):
                    return None
            if not operators:
                return None
            operators.pop()
            continue
        while operators and operators[-1] != "(" and _PRECEDENCE[operators[-1]] >= _PRECEDENCE[token]:
            if not _apply(operators.pop(), values):
                return None
        operators.append(token)
        expects_value = True
    if expects_value or "(" in operators:
        return None
    while operators:
        if not _apply(operators.pop(), values):
            return None
    return values[0]


def _apply(operator: str, values: list[Fraction]) -> bool:
    """Replace the two topmost values by their combination; `False` for a division by zero."""
    right, left = values.pop(), values.pop()
    if operator == "/" and right == 0:
        return False
    match operator:
        case "+":
            values.append(left + right)
        case "-":
            values.append(left - right)
        case "*":
            values.append(left * right)
        case "/":
            values.append(left / right)
    return True
