"""The Countdown task: combine the given numbers, each exactly once, into an expression that has the target value.

For the prompt `"3 5 2=17:"`, a right completion is `"3*5+2"`. Exact arithmetic verifies a completion. More numbers make
a prompt harder, and every prompt has a solution.
"""

import ast
import functools
import operator
import random
import re
from collections import Counter
from fractions import Fraction

from datasets import Dataset


_ALLOWED = re.compile(r"[0-9+\-*/() ]{1,64}")  # the limit of 64 bounds the time of parsing; longer texts are wrong
_LEADING_ZERO = re.compile("(?<![0-9])0[0-9]")  # "03" is not one of the given numbers
_OPERATORS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}


def countdown_dataset(num_prompts: int, seed: int = 0, num_numbers: tuple[int, ...] = (3,)) -> Dataset:
    """
    Return solvable Countdown prompts. The same arguments always give the same prompts.

    Args:
        num_prompts (`int`):
            Number of rows.
        seed (`int`, *optional*, defaults to `0`):
            Seed of the generator. Different seeds give independent draws from the same distribution.
        num_numbers (`tuple[int, ...]`, *optional*, defaults to `(3,)`):
            Counts of numbers in a prompt, drawn uniformly. More numbers are harder.

    Returns:
        `Dataset`: columns `prompt` (str), `numbers` (list of int) and `target` (int).
    """
    rng = random.Random(seed)
    rows = [draw_task(rng, rng.choice(num_numbers)) for _ in range(num_prompts)]
    return Dataset.from_list([{"prompt": format_prompt(n, t), "numbers": n, "target": t} for n, t, _ in rows])


def format_prompt(numbers: list[int], target: int) -> str:
    """Return the prompt text of a task: `format_prompt([3, 5, 2], 17)` is `"3 5 2=17:"`."""
    return f"{' '.join(map(str, numbers))}={target}:"


def draw_task(rng: random.Random, count: int) -> tuple[list[int], int, str]:
    """
    Return random numbers, a target and one solution.

    There are `count` numbers from 1 to 9. The solution uses the operators + - *, and the target is from 1 to 99.
    """
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
    Return the reward of each completion: 1 for a right expression, -1 for anything else (paper, Eq. 5).

    Args:
        completions (`list[str]`):
            Texts that the model wrote after the prompts.
        numbers (`list[list[int]]`):
            Given numbers, one list per completion.
        target (`list[int]`):
            Target values, one per completion.
        kwargs (`dict[str, Any]`, *optional*):
            Other columns that TRL passes; they are not used.

    Returns:
        `list[float]`: one reward per completion.
    """
    return [
        1.0 if is_solution(text, row, value) else -1.0
        for text, row, value in zip(completions, numbers, target, strict=True)
    ]


def is_solution(expression: str, numbers: list[int], target: int) -> bool:
    """
    Return whether an expression solves a task. It never raises an error.

    Args:
        expression (`str`):
            Text of the expression.
        numbers (`list[int]`):
            Numbers that the expression must use, each exactly once.
        target (`int`):
            Value that the expression must have.

    Returns:
        `bool`: whether it does.
    """
    return evaluate(expression) == target and Counter(map(int, re.findall("[0-9]+", expression))) == Counter(numbers)


@functools.lru_cache(maxsize=4096)  # the completions of a prompt are often equal
def evaluate(expression: str) -> Fraction | None:
    """
    Return the exact value of an expression with + - * / and parentheses; it does not use `eval`.

    Returns:
        `Fraction` or `None`: `None` for a text that is malformed or too long, or that divides by zero.
    """
    if not _ALLOWED.fullmatch(expression) or _LEADING_ZERO.search(expression):
        return None
    try:
        return _value(ast.parse(expression.strip(), mode="eval").body)
    except (SyntaxError, ValueError, ZeroDivisionError):
        return None


def _value(node: ast.expr) -> Fraction:
    match node:
        case ast.Constant(value=int(number)):
            return Fraction(number)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            return _OPERATORS[type(op)](_value(left), _value(right))
    raise ValueError("a node that is neither a number nor one of + - * /")
