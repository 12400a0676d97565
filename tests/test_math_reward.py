import json
import time
from pathlib import Path

import pytest

from es_trl.rewards.math import final_answer, math_reward


pytest.importorskip("math_verify")
DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.mark.parametrize(
    ("solution", "answer"),
    [
        ("34", "34"),
        ("$\\frac{1}{2}$", "\\frac{1}{2}"),
        ("Natalia sold 48 + 24 = 72.\n#### 72", "72"),
        ("so $x=\\boxed{3}$ and $y=\\boxed{\\frac{1}{2}}$.", "\\frac{1}{2}"),
        ("so \\boxed{\\frac{14}{3}}. The answer is: \\frac{14}{3}", "\\frac{14}{3}"),
    ],
)
def test_answer_of_a_solution(solution, answer):
    assert final_answer(solution) == answer


def test_rewards_are_plus_or_minus_one():
    chat = [{"role": "assistant", "content": "It is $\\boxed{0.5}$."}]
    completions = ["so \\boxed{34}", "the answer is 33", "", chat, "\\boxed{\\frac{1}{2}", "\\boxed{x^2+1}"]
    golds = ["34", "34", "34", "\\frac{1}{2}", "\\frac{1}{2}", "1+x^2"]
    rewards = math_reward(completions, golds)
    assert rewards == [1.0, -1.0, -1.0, 1.0, rewards[4], 1.0] and rewards[4] in (1.0, -1.0)


def test_hostile_answers_end_in_bounded_time():
    hostile = [
        "\\boxed{9^{9^{9^{9}}}}",
        "\\boxed{(10^8)!}",
        "\\boxed{" + "(" * 400 + "1" + ")" * 400 + "}",
        "\\boxed{1/0}",
    ]
    started = time.perf_counter()
    assert math_reward([*hostile, "\\boxed{7}"], ["7"] * 5) == [-1.0, -1.0, -1.0, -1.0, 1.0]
    assert time.perf_counter() - started < 40.0


def test_solution_without_an_answer_is_refused():
    with pytest.raises(ValueError, match="holds no answer that math-verify can read: set answer_column"):
        math_reward(["\\boxed{7}"], [""])


@pytest.mark.skipif(not DATA.exists(), reason="the data sets are not on this machine")
@pytest.mark.parametrize(("name", "wrong_at_most"), [("math500", 0), ("gsm8k", 0)])
def test_real_solutions_equal_themselves_and_not_their_neighbours(name, wrong_at_most):
    rows = [json.loads(line) for line in open(DATA / name / "test.jsonl")][:200]
    solutions = [row["answer"] for row in rows]
    right = [f"Therefore the answer is $\\boxed{{{final_answer(solution)}}}$." for solution in solutions]
    assert math_reward(right, solutions).count(-1.0) <= wrong_at_most
    neighbours = math_reward(right, solutions[1:] + solutions[:1])
    assert neighbours.count(1.0) < 0.05 * len(rows)  # by chance two neighbours share an answer
