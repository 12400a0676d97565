"""The key `prompt_template`: prompts that are made of a row's columns."""

import json

import pytest

from es_trl.data import DataArguments, load_problems, load_rows
from es_trl.data.tasks import Task, check_rewards_fit


ROWS = [
    {
        "question": "1 + 1?",
        "level": 3,
        "meta": {"unit": "kg"},
        "answer": "2",
        "numbers": [1, 1],
        "target": 2,
        "maß": 4,
        "my col": 5,
    },
    {
        "question": "2 + 2?",
        "level": 0.1,
        "meta": {"unit": "m"},
        "answer": "4",
        "numbers": [2, 2],
        "target": 4,
        "maß": 6,
        "my col": 7,
    },
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
        ("{{{level}}} {1} {} {not a column}", ["{3} {1} {} {not a column}", "{0.1} {1} {} {not a column}"]),
        ("{maß} {my col}", ["4 5", "6 7"]),
        ("{question}{question}", ["1 + 1?1 + 1?", "2 + 2?2 + 2?"]),
    ],
)
def test_columns_in_braces(template, prompts, args):
    assert load_rows(args(prompt_template=template))["prompt"][:] == prompts


def test_every_other_column_is_kept_for_the_reward(args):
    rows = load_rows(args(prompt_template="{question}"))
    assert rows.column_names == ["prompt", *ROWS[0]]


def test_a_template_makes_a_chat(args):
    problems = load_problems(args(prompt_template="{question}", prompt_format="chat", answer_column="answer"))
    assert problems["prompt"][0] == [{"role": "user", "content": "1 + 1?"}] and problems["solution"][:] == ["2", "4"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"prompt_template": "{qestion}"}, "no column 'qestion', did you mean 'question'.*: correct the name in"),
        ({"prompt_template": "Q:"}, "`prompt_template` must name a column of .* in braces, got 'Q:'"),
        ({"prompt_template": "{numbers}"}, "row 0 of .* has .1, 1. in 'numbers', which must hold text or a number"),
        (
            {"prompt_template": "{question:>3}"},
            "must name a column alone in braces, got {question:>3}: write {question}",
        ),
        ({"prompt_template": "{ question }"}, "must name a column alone in braces, got { question }: write {question}"),
        (
            {"prompt_template": "{question} \x0crac"},
            "without control characters, got .*: double each backslash in YAML",
        ),
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


def test_an_answer_in_the_prompt_is_refused(args):
    asked = args(prompt_template="{question} in \\boxed{answer}", answer_column="answer")
    with pytest.raises(ValueError, match="names 'answer', which is `answer_column`, so prompts would hold the right"):
        load_problems(asked)
    literal = args(prompt_template="{question} in \\boxed{{answer}}", answer_column="answer")
    assert load_problems(literal)["prompt"][0] == "1 + 1? in \\boxed{answer}"


def test_the_nearer_of_template_and_column_counts():
    hard = {"hard": {"dataset_name": "b.jsonl", "prompt_column": "q"}, "easy": {"prompt_template": "{q}!"}}
    named = DataArguments("a.jsonl", prompt_template="{question}", datasets=hard).named()
    assert (named["hard"].prompt_template, named["hard"].prompt_column) == (None, "q")
    assert named["easy"].prompt_template == "{q}!" and DataArguments(prompt_template="none").prompt_template is None
    named = DataArguments("a.jsonl", prompt_column="q", datasets={"easy": {"prompt_template": "{q}!"}}).named()
    assert (named["easy"].prompt_template, named["easy"].prompt_column) == ("{q}!", "prompt")


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


def takes_all(completions, **columns):
    return []


def takes_answer(completions, answer, prompts, weight=1.0, **columns):
    return []


def takes_no_columns(completions):
    return []


@pytest.mark.parametrize(
    ("function", "columns", "message"),
    [
        (
            takes_answer,
            ["answr"],
            "the reward 'takes_answer' needs a column 'answer', which the dataset lacks, did you",
        ),
        (takes_no_columns, [], "the reward 'takes_no_columns' must take every column by name: add ..columns"),
        (takes_all, ["completions"], "the dataset has a column 'completions', a name that TRL uses .*: rename"),
        (takes_all, ["x", "completion_ids"], "the dataset has a column 'completion_ids', a name"),
    ],
)
def test_rewards_that_trl_could_not_call_are_refused(function, columns, message):
    with pytest.raises(ValueError, match=message):
        check_rewards_fit([function], ["prompt", *columns])


def test_rewards_that_fit():
    check_rewards_fit([takes_all, takes_answer], ["prompt", "answer", "other"])


def test_two_functions_of_one_name_are_refused():
    with pytest.raises(
        ValueError, match="names two functions 'countdown_reward', and logs tell them by name: rename one"
    ):
        Task(["countdown", "es_trl.lab.countdown:countdown_reward"], 0).rewards()
