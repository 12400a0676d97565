import json

import pytest
from datasets import Dataset
from judged_here import judged_here  # noqa: F401, for pytest

from es_trl.data import DataArguments, load_named, load_problems, load_rows


ROWS = [{"question": f"What is {i} + 1?", "answer": str(i + 1), "meta": {"truth": str(i + 1)}} for i in range(3)]


@pytest.fixture(params=["json", "jsonl", "parquet"])
def local_file(request, tmp_path):
    path = tmp_path / f"problems.{request.param}"
    if request.param == "parquet":
        Dataset.from_list(ROWS).to_parquet(path)
    elif request.param == "json":
        path.write_text(json.dumps(ROWS))
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return str(path)


def test_local_files(local_file):
    dataset = load_problems(DataArguments(local_file, prompt_column="question", answer_column="answer"))
    assert dataset.column_names == ["prompt", "solution"]
    assert dataset[1] == {"prompt": [{"role": "user", "content": "What is 1 + 1?"}], "solution": "2"}


def test_suffix_and_nested_column(local_file):
    args = DataArguments(local_file, prompt_column="question", answer_column="meta.truth", prompt_suffix=" Think.")
    row = load_problems(args)[2]
    assert row == {"prompt": [{"role": "user", "content": "What is 2 + 1? Think."}], "solution": "3"}


def test_rows_keep_the_columns_a_reward_reads(local_file):
    dataset = load_rows(DataArguments(local_file, prompt_column="question"), ("answer",))
    assert dataset["question"][0] == "What is 0 + 1?" and dataset["answer"][0] == "1"


def test_answers_are_text_whatever_their_column_holds(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"prompt": "1 + 4", "solution": 5}\n{"prompt": "1 + 5", "solution": 6}\n')
    assert load_problems(DataArguments(str(tmp_path / "a.jsonl")))["solution"][:] == ["5", "6"]


def test_columns_may_have_each_others_names(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"solution": "1 + 4", "prompt": "5"}\n')
    args = DataArguments(str(tmp_path / "a.jsonl"), prompt_column="solution", answer_column="prompt")
    (row,) = load_problems(args)
    assert row == {"prompt": [{"role": "user", "content": "1 + 4"}], "solution": "5"}
    args.answer_column = "solution"
    with pytest.raises(ValueError, match="are both 'solution'"):
        load_problems(args)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", None, "does not exist: set dataset_name to a file"),
        ("a.jsonl", "", "is empty: set dataset_name to a file with prompts"),
        ("a.json", "[]", "is empty: set dataset_name to one with prompts"),
        ("a.csv", "prompt\nx\n", "is a .csv file: set dataset_name to a file ending in .json, .jsonl, .parquet"),
        (
            "a.jsonl",
            '{"promt": "x", "solution": "1"}\n',
            "no column 'prompt', did you mean 'promt'.*set prompt_column",
        ),
        (
            "a.jsonl",
            '{"prompt": "x", "answer": "1"}\n',
            "no column 'solution'.*it has prompt, answer: rename a column",
        ),
        ("a.jsonl", '{"prompt": "x", "solution": "1"}\n{"prompt": "y"}\n', "row 1 of .* has no 'solution': fill it in"),
        ("a.jsonl", '{"prompt": "x", "solution": "$$"}\n', "row 0 of .* has an empty 'solution': drop the row"),
        ("no/such-set", None, "is not a local file and cannot be loaded from the Hub"),
        (
            "a.jsonl",
            "{broken\n",
            "line 1 of .*a.jsonl is not valid JSON .* at character 2.*one record per line",
        ),
    ],
)
def test_refusals(name, content, message, tmp_path):
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=message):
        load_problems(DataArguments(name if "/" in name else str(tmp_path / name)))


def test_no_data_set_is_refused():
    with pytest.raises(ValueError, match="`dataset_name` must be set: name a dataset of the Hub"):
        load_problems(DataArguments())


def rows_of(tmp_path, **columns):
    path = tmp_path / "rows.jsonl"
    Dataset.from_dict({"prompt": list("abcde"), "solution": list("12345"), **columns}).to_json(path)
    return str(path)


@pytest.mark.parametrize(
    ("bounds", "kept"),
    [
        ({"level": [0, 2]}, "abc"),
        ({"level": [3, None]}, "de"),
        ({"level": [None, 1]}, "ab"),
        ({"level": [1, 4], "year": [1983, 2023]}, "bd"),
    ],
)
def test_filter_by_numeric_columns(bounds, kept, tmp_path):
    path = rows_of(tmp_path, level=[0, 1, 2, 3, 4], year=[1990.0, 1983.0, 2024.0, 2023.0, 1982.0])
    problems = load_problems(DataArguments(path, dataset_filter=bounds))
    assert "".join(row[0]["content"] for row in problems["prompt"]) == kept


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        ({"levl": [0, 2]}, "has no column 'levl', did you mean 'level'.*: name one of these in dataset_filter"),
        (
            {"level": [5, 9]},
            "keeps no row of .*: 'level' goes from 0 to 4 there, and the filter keeps 5 to 9: widen",
        ),
        ({"level": 2}, "has 2 for 'level': set the least and the greatest value to keep"),
        ({"level": ["0", 2]}, "for 'level': set the least and the greatest value"),
        (
            {"solution": [0, 2]},
            "must name a column of numbers, but 'solution' of .* holds '1': choose another",
        ),
        ([0, 2], "`dataset_filter` must be a mapping, got"),
    ],
)
def test_bad_filters_are_refused(bounds, message, tmp_path):
    path = rows_of(tmp_path, level=[0, 1, 2, 3, 4])
    with pytest.raises(ValueError, match=message):
        load_problems(DataArguments(path, dataset_filter=bounds))


def test_rows_without_a_number_are_not_kept(tmp_path):
    path = rows_of(tmp_path, level=[0, 1, None, 3, 4])
    problems = load_problems(DataArguments(path, dataset_filter={"level": [None, None]}))
    assert "".join(row[0]["content"] for row in problems["prompt"]) == "abde"


def test_named_data_sets_inherit_what_they_do_not_give(tmp_path):
    path = rows_of(tmp_path, level=[0, 1, 2, 3, 4])
    args = DataArguments(path, prompt_suffix="!", datasets={"hard": {"dataset_filter": {"level": [3, 4]}}})
    sets = load_named(args, load_problems)
    assert list(sets) == ["train", "hard"] and len(sets["train"]) == 5
    assert [row[0]["content"] for row in sets["hard"]["prompt"]] == ["d!", "e!"]
    assert len(load_named(DataArguments(path), load_problems)) == 5  # one dataset is itself


@pytest.mark.parametrize(
    ("datasets", "message"),
    [
        ({"train": {}}, "names a dataset 'train', which is the top level's"),
        ({"hard": {"dataset_nam": "x"}}, "unknown key 'dataset_nam' for 'hard', did you mean 'dataset_name'"),
        ({"hard": "x.jsonl"}, "has 'x.jsonl' for 'hard': set a mapping"),
        (["hard"], "`datasets` must be a mapping, got"),
    ],
)
def test_bad_names_are_refused(datasets, message):
    with pytest.raises(ValueError, match=message):
        DataArguments("x.jsonl", datasets=datasets).named()
