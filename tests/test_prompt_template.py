"""The key `prompt_template`: prompts that are made of a row's columns."""

import json

import pytest

from es_trl.data import DataArguments, load_problems, load_rows
from es_trl.data.tasks import Task


ROWS = [
    {"question": "1 + 1?", "level": 3, "meta": {"unit": "kg"}, "answer": "2", "numbers": [1, 1], "target": 2},
    {"question": "2 + 2?", "level": 0.1, "meta": {"unit": "m"}, "answer": "4", "numbers": [2, 2], "target": 4},
]


@pytest.fixture
def args(tmp_path):
    """Arguments that name a file of these rows."""

    def build(rows=ROWS, **arguments):
        (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        return DataArguments(str(tmp_path / "a.jsonl"), **{"prompt_format": "text", **arguments})

    return build


@pytest.mark.parametrize(
    ("template", "prompts"),
    [
        ("Q: {question}\nA:", ["Q: 1 + 1?\nA:", "Q: 2 + 2?\nA:"]),
        ("{level} {meta.unit} {question}", ["3 kg 1 + 1?", "0.1 m 2 + 2?"]),
        ("{level} in \\boxed{} {{level}} {1}", ["3 in \\boxed{} {level} {1}", "0.1 in \\boxed{} {level} {1}"]),
        ("{question}{question}", ["1 + 1?1 + 1?", "2 + 2?2 + 2?"]),
    ],
)
def test_columns_in_braces(template, prompts, args):
    assert load_rows(args(prompt_template=template))["prompt"][:] == prompts


def test_every_other_column_is_kept_for_the_reward(args):
    rows = load_rows(args(prompt_template="{question}"))
    assert rows.column_names == ["prompt", "question", "level", "meta", "answer", "numbers", "target"]


def test_a_template_makes_a_chat(args):
    problems = load_problems(args(prompt_template="{question}", prompt_format="chat", answer_column="answer"))
    assert problems["prompt"][0] == [{"role": "user", "content": "1 + 1?"}] and problems["solution"][:] == ["2", "4"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"prompt_template": "{qestion}"}, "no column 'qestion', did you mean 'question'.*: correct the name in"),
        ({"prompt_template": "Q:"}, "`prompt_template` must name a column of .* in braces, got 'Q:'"),
        ({"prompt_template": "{numbers}"}, "row 0 of .* has .1, 1. in 'numbers', which must hold text or a number"),
        ({"prompt_template": 3}, "`prompt_template` must be text, got 3: put it in quotes"),
        (
            {"prompt_template": "{question}", "prompt_column": "question"},
            "`prompt_column` is 'question' and .*: remove one",
        ),
        (
            {"prompt_template": "{question}", "prompt_suffix": "!"},
            "`prompt_suffix` is '!' and .* remove one of the two",
        ),
    ],
)
def test_refusals(arguments, message, args):
    with pytest.raises(ValueError, match=message):
        load_rows(args(**arguments))


@pytest.mark.parametrize("value", [None, "", "  ", True])
def test_a_row_without_a_value_is_named(value, args):
    with pytest.raises(ValueError, match="row 1 of .*a.jsonl has .* 'question', which .*`prompt_template`"):
        load_rows(args(rows=[ROWS[0], {**ROWS[1], "question": value}], prompt_template="{question}"))


# --- the columns that the rewards of a task read ----------------------------------------------------------------------


def test_a_task_has_the_columns_that_its_rewards_read(args):
    math = args(prompt_template="{question}", answer_column="answer")
    assert Task(["math"], 0).load(math).column_names == ["prompt", "solution"]
    both = Task(["math", "own.py:f"], 0).load(math)
    assert set(both.column_names) == {"prompt", *ROWS[0], "solution"} and both["solution"][:] == ["2", "4"]
    own = Task(["own.py:f"], 0).load(args(prompt_template="{question}"))
    assert set(own.column_names) == {"prompt", *ROWS[0]}
    lab = Task(["countdown", "own.py:f"], 0).load(args(prompt_template="{question}", prompt_format="chat"))
    assert set(lab.column_names) == {"prompt", *ROWS[0], "count"} and lab["prompt"][0] == "1 + 1?"


def test_a_solution_of_the_file_gives_way_to_the_answers(args):
    rows = [{**row, "solution": "a long text"} for row in ROWS]
    loaded = Task(["own.py:f", "math"], 0).load(args(rows, prompt_template="{question}", answer_column="answer"))
    assert loaded["solution"][:] == ["2", "4"]


def test_rewards_that_read_other_columns_are_refused():
    with pytest.raises(ValueError, match="names math and countdown, which read different columns: name one of them"):
        Task(["math", "countdown"], 0)
