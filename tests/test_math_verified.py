"""Right answers in other forms are verified, and near misses are not."""

import pytest
from verified_answers import LEFT_RIGHT, LEFT_WRONG, RIGHT, WRONG

from es_trl.rewards import math_reward


pytestmark = pytest.mark.slow


pytest.importorskip("math_verify")

RIGHT_COMPLETIONS = [  # gold answer and the whole completion
    ("42", "thus \\fbox{42}"),
    ("42", "<think>6*7</think><answer>42</answer>"),
    ("42", "<answer>$42$</answer>"),
    ("42", "<answer> The answer is 42 </answer>"),
    ("\\frac{1}{2}", "<answer>\\frac{1}{2}</answer>"),
    ("\\frac{1}{2}", "<answer>1/2</answer>"),
    ("5", "<answer>5 apples</answer>"),
    ("72", "Natalia sold 72.\n#### 72"),
    ("34", "It is 34."),
    ("34", "The answer is: 34"),
    ("\\frac12", "The answer is $\\frac{1}{2}$"),
    ("34", "The final answer is $34$. I hope it is correct."),
    ("1", "so the answer is $\\boxed{1}$. No wait."),
    ("3", "first \\boxed{2}, no: \\boxed{3}"),
    ("1,2", "\\boxed{1} and \\boxed{2}"),
    ("1,2", "$x=\\boxed{1}$ or $x=\\boxed{2}$"),
    ("3", "\\boxed{\\boxed{3}}"),
    ("3", "\\boxed{ 3 }"),
    ("3", "\\boxed 3"),
    ("3", "$\\boxed{\\text{3}}$"),
    ("3", "\\[\\boxed{3}\\]"),
    ("3", "**Answer:** $\\boxed{3}$"),
    ("72", "8 * 9\n#### 72"),
    ("\\frac12", "so\n#### \\frac{1}{2}"),
    ("72", "<think>\\(x\\)</think>\n<answer>x = 72</answer>"),
    ("7", "<answer>6</answer> no, <answer>7</answer>"),
    ("1,2", "\\boxed{1}, \\boxed{2}"),
    ("7", "$x=\\boxed{3}$ and $y=\\boxed{7}$"),
    ("7", "\\boxed{3}, which is wrong. \\fbox{7}"),
    ("7", "\\boxed{x = \\fbox{7}}"),
    ("42", "so \\boxed{42}. " + "Let me check this again. " * 200),
]
WRONG_COMPLETIONS = [
    ("7", "it is 7, so \\boxed{}"),
    ("7", "The answer is 7. $\\boxed{}$"),
    ("7", "\\boxed{7} ... \\boxed{}"),
    ("7", "$7$ \\boxed{ }"),
    ("7", "\\boxed{7} \\fbox{}"),
    ("7", "\\boxed{7}, \\boxed{}"),
    ("7", "<answer></answer> 7"),
    ("7", "\\boxed{6}<answer>7</answer>"),
    ("7", "7 \\boxed{8}"),
    ("7", "The final answer is $7$. \\boxed{8}"),
    ("7", "\\boxed{7} no: \\boxed{8}"),
    ("7", "\\boxed{7}. The answer could be other things, as I found before while checking it all: \\boxed{8}"),
    ("42", ""),
    ("42", "I don't know"),
    ("72", "7 * 2\n#### 14"),
    ("7", "\\boxed{7"),
    ("7", "\\boxed{7} and then \\boxed{8"),
    ("7", "<answer>7</answer> \\boxed{8}"),
    ("7", "<answer>8</answer> 7"),
    ("7", "7 <answer>\n</answer>"),
    ("3", "$x=\\boxed{3}$ and $y=\\boxed{7}$"),
    ("3", "\\boxed{1} and \\boxed{2} and \\boxed{3}"),
    ("7", "The answer is \\boxed{" + "7" * 5001 + "}"),
]


def _boxed(table: str) -> list[tuple[str, str]]:
    lines = [line.split(" ~ ") for line in table.strip().splitlines()]
    return [(gold, f"so the answer is $\\boxed{{{answer}}}$.") for gold, *answers in lines for answer in answers]


@pytest.mark.parametrize(
    ("rows", "reward"),
    [
        (_boxed(RIGHT), 1.0),
        (_boxed(WRONG), -1.0),
        (RIGHT_COMPLETIONS, 1.0),
        (WRONG_COMPLETIONS, -1.0),
        (_boxed(LEFT_RIGHT), 1.0),
        (_boxed(LEFT_WRONG), -1.0),
    ],
    ids=["right", "wrong", "right completions", "wrong completions", "left right", "left wrong"],
)
def test_right_answers_are_verified_and_wrong_ones_are_not(rows, reward):
    golds, completions = zip(*rows, strict=True)
    rewards = math_reward(list(completions), list(golds))
    assert [row for row, got in zip(rows, rewards, strict=True) if got != reward] == []
