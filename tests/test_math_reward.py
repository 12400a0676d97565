import json
from pathlib import Path

import pytest

from es_trl.rewards import completion_text, final_answer, math_reward


pytest.importorskip("math_verify")
DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.mark.parametrize(
    ("solution", "answer"),
    [
        ("34", "34"),
        ("$\\frac{1}{2}$", "\\frac{1}{2}"),
        ("\\$", "\\$"),
        ("Natalia sold 48 + 24 = 72.\n#### 72", "72"),
        ("so $x=\\boxed{3}$ and $y=\\boxed{\\frac{1}{2}}$.", "\\frac{1}{2}"),
        ("so $x=\\boxed{3}$ or $x=\\boxed{4}$.", "3,4"),
        ("so \\fbox{3}", "3"),
        ("so \\boxed 3.", "3."),
        ("so \\boxed{\\{1, 2\\}} as \\boxedness{5} says", "\\{1, 2\\}"),
        ("so \\boxed{\\frac{14}{3}}. The answer is: \\frac{14}{3}", "\\frac{14}{3}"),
    ],
)
def test_answer_of_a_solution(solution, answer):
    assert final_answer(solution) == answer


@pytest.mark.slow
def test_rewards_are_plus_or_minus_one():
    chat = [{"role": "assistant", "content": "It is $\\boxed{0.5}$."}]
    completions = ["so \\boxed{34}", "the answer is 33", "", chat, "\\boxed{\\frac{1}{2}", "\\boxed{x^2+1}"]
    golds = ["34", "34", "34", "\\frac{1}{2}", "\\frac{1}{2}", "1+x^2"]
    assert math_reward(completions, golds) == [1.0, -1.0, -1.0, 1.0, -1.0, 1.0]


@pytest.mark.parametrize(
    ("completion", "text"),
    [
        ("7", "7"),
        (None, ""),
        ([], ""),
        ({"role": "assistant", "content": "7"}, "7"),
        ([{"role": "assistant", "content": None, "tool_calls": [{}]}], ""),
        ([{"role": "assistant", "tool_calls": [{}]}], ""),
        ([{"role": "tool", "content": "7"}], ""),
        ([{"role": "assistant", "content": "6"}, {"role": "assistant", "content": "7"}], "7"),
        ([{"role": "assistant", "content": "7"}, {"role": "tool", "content": "8"}], "7"),
        ([{"role": "assistant", "content": "7"}, {"role": "user", "content": "8"}], "7"),
        ([{"role": "assistant", "content": "7"}, {"role": "assistant", "content": None, "tool_calls": []}], ""),
        (({"role": "assistant", "content": []},), ""),
        (
            [
                {
                    "role": "assistant",
                    "content": [{"type": "text", "text": "7"}, {"type": "image"}, {"type": "text", "text": "8"}],
                }
            ],
            "78",
        ),
    ],
)
def test_text_of_what_trl_hands_over(completion, text):
    assert completion_text(completion) == text


@pytest.mark.parametrize(
    ("completion", "got"),
    [
        (7, "got int"),
        (b"7", "got bytes"),
        (["7"], "got str '7'"),
        ([None], "got NoneType None"),
        ({"text": "7"}, "got dict {'text': '7'}"),
        ([{"content": "7"}], "got dict"),
        ([{"role": "assistant"}], "got dict"),
        ([{"role": "assistant", "content": 7}], "got int 7"),
        ([{"role": "assistant", "content": ["7"]}], "got list"),
        ([{"role": "assistant", "content": [{"type": "text"}]}], "got list"),
        ([{"role": "assistant", "content": [{"type": "text", "text": None}]}], "got list"),
    ],
)
def test_other_completions_are_refused_by_row(completion, got):
    with pytest.raises(ValueError, match=rf"completion 1 must .*{got}"):
        math_reward(["7", completion], ["7", "7"])


@pytest.mark.slow
def test_golds_are_text_numbers_or_alternatives():
    golds = ["7", 7, 7.0, ["6", "7"], (8, 7.0), ["6", "8"]]
    assert math_reward(["\\boxed{7}"] * 6, golds) == [1.0, 1.0, 1.0, 1.0, 1.0, -1.0]


def test_a_gold_of_another_type_is_refused_by_row():
    with pytest.raises(ValueError, match="`solution` of row 1 must be text, a finite number, .* got NoneType None"):
        math_reward(["7", "7"], ["7", None])


@pytest.mark.slow
@pytest.mark.parametrize("gold", ["", " ", "$$", "\\boxed{}", ["7", ""]])
def test_solution_without_an_answer_is_refused(gold):
    with pytest.raises(ValueError, match="row 1 has the answer .*, which math-verify cannot read: set answer_column"):
        math_reward(["\\boxed{7}"] * 2, ["7", gold])


@pytest.mark.slow
@pytest.mark.skipif(not DATA.exists(), reason="the data sets are not on this machine")
@pytest.mark.parametrize(("name", "wrong_at_most"), [("math500", 0), ("gsm8k", 0)])
def test_real_solutions_equal_themselves_and_not_their_neighbours(name, wrong_at_most):
    rows = [json.loads(line) for line in open(DATA / name / "test.jsonl")][:200]
    solutions = [row["answer"] for row in rows]
    right = [f"Therefore the answer is $\\boxed{{{final_answer(solution)}}}$." for solution in solutions]
    assert math_reward(right, solutions).count(-1.0) <= wrong_at_most
    assert math_reward(solutions, solutions).count(-1.0) <= wrong_at_most
    neighbours = math_reward(right, solutions[1:] + solutions[:1])
    assert neighbours.count(1.0) < 0.05 * len(rows)  # by chance two neighbours share an answer
