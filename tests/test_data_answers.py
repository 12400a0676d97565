"""An answer is what the file has, digit by digit, or its row is refused."""

import datetime
import decimal
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from es_trl.data import DataArguments, load_rows, open_rows, problems_of
from es_trl.data import reading as read_rows
from es_trl.rewards import final_answer


def read_problems(args):
    """What [`load_problems`] reads, before the answers are judged."""
    return problems_of(open_rows(args), args)


def answers_of(folder, texts, **arguments):
    """The answers of a JSON Lines file whose rows have these texts of JSON as their solutions."""
    path = folder / "a.jsonl"
    path.write_text("".join(f'{{"prompt": "x", "solution": {text}}}\n' for text in texts), encoding="utf-8")
    return read_problems(DataArguments(str(path), **arguments))["solution"][:]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("answers")


DECIMALS = st.from_regex(r"-?(0|[1-9][0-9]{0,20})\.[0-9]{1,20}", fullmatch=True)


@pytest.mark.slow
@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers().map(str) | st.integers(2**53, 2**200).map(str) | DECIMALS, min_size=1))
def test_numbers_keep_their_digits_whatever_stands_beside_them(folder, texts):
    assert answers_of(folder, texts) == texts


@settings(deadline=None, max_examples=50)
@given(st.text().filter(lambda text: final_answer(text).strip()))
def test_any_text_is_kept(folder, text):
    assume(text.encode("utf-8", "ignore").decode() == text)
    assert (
        answers_of(folder, [json.dumps(text)]) == [text] == answers_of(folder, [json.dumps(text, ensure_ascii=False)])
    )


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (str(2**100), str(2**100)),
        ("9007199254740993", "9007199254740993"),
        ("0.10", "0.10"),
        ("1e-7", "0.0000001"),  # math-verify reads 1e-7 as -7 + e
        ("2.5E+3", "2500"),
        ("1e400", "1" + "0" * 400),
        ("-0.0", "-0.0"),
        ('"2020-01-05"', "2020-01-05"),
        ('"2020-01-05T10:00:00"', "2020-01-05T10:00:00"),
        ('"007"', "007"),
        ('"true"', "true"),
        ('"NaN"', "NaN"),
        ('" 5 "', " 5 "),
    ],
)
def test_answers_are_what_the_file_has(text, answer, folder):
    assert answers_of(folder, [text]) == [answer]
    assert answers_of(folder, ["0.5", text, '"two"']) == ["0.5", answer, "two"]


def test_alternatives_make_every_row_a_list(folder):
    assert answers_of(folder, ['["1", "-1"]', '"2"', "[3, 0.50]"]) == [["1", "-1"], ["2"], ["3", "0.50"]]


BAD = [
    ("null", "has no 'solution': fill it in, or drop the row"),
    ('""', "has an empty 'solution': drop the row"),
    ('" \\n "', "has an empty 'solution'"),
    ('"#### $"', "has an empty 'solution'"),
    ('"\\\\boxed{ }"', "has an empty 'solution'"),
    ('"\\ud800"', "which must hold text"),
    ("true", "has True in 'solution', which must hold text, a finite number .*, or a list of these"),
    ("NaN", "has nan in 'solution'"),
    ("-Infinity", "has -inf in 'solution'"),
    ("1e999999999", "has 1e999999999 in 'solution', which must hold .* a finite number of at most 4300 digits"),
    ("1e99999999999999999999999", "has 1e99999999999999999999999 in"),
    ("0e-99999999", "has 0e-99999999 in"),
    ("[]", r"has \[\] in 'solution'"),
    ('["1", null]', r"None\] in 'solution'"),
    ('["1", " "]', r"in 'solution', which must hold text"),
    ("[[1]]", r"has \[\[1\]\] in"),
    ("[NaN]", r"has \[nan\] in"),
    ("{}", r"has a mapping in 'solution', which must hold the answer: .* \(solution\)"),
    ('{"ground_truth": 1, "by": {"who": 2}}', r"a field of it \(solution.ground_truth, solution.by.who\)"),
]


@pytest.mark.parametrize(("text", "message"), BAD, ids=[text for text, _ in BAD])
def test_what_is_no_answer_is_refused_with_its_row(text, message, folder):
    with pytest.raises(ValueError, match=f"row 1 of .*a.jsonl.* {message}") as refusal:
        answers_of(folder, ["1", text])
    assert "rows are refused" not in str(refusal.value) and len(str(refusal.value).splitlines()) == 1
    with pytest.raises(ValueError, match="row 2 of .*3 rows are refused, and this is the first"):
        answers_of(folder, ["1", '"two"', text, "[4]", text, text])


@pytest.mark.parametrize(
    ("values", "type_", "answers"),
    [
        ([9007199254740993, 2], pa.int64(), ["9007199254740993", "2"]),
        ([2**64 - 1, 2], pa.uint64(), ["18446744073709551615", "2"]),
        ([0.1, 1e22], pa.float64(), ["0.1", "10000000000000000000000"]),
        ([0.1, 1e-7], pa.float32(), ["0.1", "0.0000001"]),
        ([[0.1], [0.5, 1]], pa.list_(pa.float32()), [["0.1"], ["0.5", "1.0"]]),
        ([decimal.Decimal("1.50"), decimal.Decimal("2.00")], pa.decimal128(9, 2), ["1.50", "2.00"]),
        (["a", "b"], pa.large_string(), ["a", "b"]),
        (["a", "a"], pa.dictionary(pa.int32(), pa.string()), ["a", "a"]),
        ([datetime.date(2020, 1, 5)] * 2, pa.date32(), "has datetime.date.2020, 1, 5. in 'solution'"),
        ([datetime.datetime(2020, 1, 5)] * 2, pa.timestamp("ms"), "has datetime.datetime.2020"),
        ([b"1", b"2"], pa.binary(), "has b'1' in 'solution'"),
        ([True, False], pa.bool_(), "has True in 'solution'"),
        ([1.0, None], pa.float64(), "row 1 of .* has no 'solution'"),
        ([1.0, float("nan")], pa.float64(), "row 1 of .* has nan in 'solution'"),
        ([{"a": 1}, {"a": 2}], pa.struct({"a": pa.int64()}), r"has a mapping in 'solution', .* \(solution.a\)"),
    ],
    ids=lambda value: str(value) if isinstance(value, pa.DataType) else "",
)
def test_answers_of_parquet_types(values, type_, answers, tmp_path):
    pq.write_table(pa.table({"prompt": ["x", "y"], "solution": pa.array(values, type_)}), tmp_path / "a.parquet")
    args = DataArguments(str(tmp_path / "a.parquet"))
    if isinstance(answers, list):
        assert read_problems(args)["solution"][:] == answers
    else:
        with pytest.raises(ValueError, match=answers):
            read_problems(args)


VERL = [
    {
        "data_source": "math_dapo",
        "prompt": [{"role": "user", "content": f"{i} + {i}"}],
        "reward_model": {"ground_truth": str(2 * i), "style": "rule"},
        "extra_info": {"question": f"What is {i} + {i}?", "index": i, "deep": {"level": i / 2}},
    }
    for i in range(1, 5)
]


@pytest.fixture(params=["json", "parquet", "hub"])
def verl(request, tmp_path, monkeypatch):
    """The name of a data set in verl's layout."""
    if request.param == "hub":
        monkeypatch.setattr(read_rows, "load_dataset", lambda name, config, split: Dataset.from_list(VERL))
        return "some/verl-set"
    path = tmp_path / f"verl.{request.param}"
    path.write_text(json.dumps(VERL)) if request.param == "json" else Dataset.from_list(VERL).to_parquet(path)
    return str(path)


def test_nested_columns(verl):
    args = DataArguments(verl, prompt_column="extra_info.question", answer_column="reward_model.ground_truth")
    args.dataset_filter = {"extra_info.deep.level": [1, 1.5], "extra_info.index": [None, 2]}
    (row,) = read_problems(args)
    assert row == {"prompt": [{"role": "user", "content": "What is 2 + 2?"}], "solution": "4"}
    rows = load_rows(args, ("reward_model.ground_truth", "extra_info.deep.level", "data_source"))
    assert rows["reward_model.ground_truth"][:] == ["4"] and rows["extra_info.deep.level"][:] == [1.0]
    assert rows["extra_info.question"][:] == ["What is 2 + 2?"] and rows["data_source"][:] == ["math_dapo"]
    assert read_problems(DataArguments(verl, answer_column="extra_info.index"))["solution"][:] == list("1234")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"answer_column": "reward_model"}, r"reward_model.ground_truth, reward_model.style\)"),
        ({"answer_column": "extra_info.deep"}, r"a field of it \(extra_info.deep.level\)"),
        (
            {"answer_column": "reward_model.ground_trut"},
            "no column 'reward_model.ground_trut', did you mean 'reward_model.ground_truth'.; it has data_source, "
            "prompt, reward_model.ground_truth, reward_model.style, extra_info.question",
        ),
        ({"answer_column": "data_source.x"}, "has no column 'data_source.x'"),
        ({"prompt_column": "extra_info", "answer_column": "extra_info.index"}, "to a field .extra_info.q"),
        ({"dataset_filter": {"extra_info.indx": [0, 1]}}, "'extra_info.indx', did you mean 'extra_info.index'"),
        ({"dataset_filter": {"extra_info": [0, 1]}}, "must name a column of numbers, but 'extra_info' of .* holds {"),
    ],
)  # fmt: skip
def test_nested_names_that_are_wrong_are_refused_with_the_right_ones(arguments, message, verl):
    with pytest.raises(ValueError, match=message):
        read_problems(DataArguments(verl, **arguments))


def test_a_row_without_the_nested_field_is_named(tmp_path):
    rows = [{"prompt": "x", "a": {"b": "1"}}, {"prompt": "y", "a": {}}, {"prompt": "z", "a": "text"}, {"prompt": "z"}]
    (tmp_path / "a.json").write_text(json.dumps(rows))
    with pytest.raises(ValueError, match=r"row 1 of .*a.json has no 'a.b': fill it in, or drop the row \(3 rows"):
        read_problems(DataArguments(str(tmp_path / "a.json"), answer_column="a.b"))


def test_a_column_whose_name_has_a_dot_is_itself(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps([{"prompt": "x", "a.b": "1", "a": {"b": "2", "c.d": "3"}}]))
    for name, answer in (("a.b", "1"), ("a.c.d", "3")):
        args = DataArguments(str(tmp_path / "a.json"), answer_column=name)
        assert read_problems(args)["solution"][:] == [answer]


def test_rows_keep_their_numbers_behind_a_filter(tmp_path):
    rows = [{"prompt": "x", "solution": answer, "level": level} for level, answer in enumerate(["", "1", "2", ""])]
    (tmp_path / "a.json").write_text(json.dumps(rows))
    args = DataArguments(str(tmp_path / "a.json"), dataset_filter={"level": [1, 2]})
    assert read_problems(args)["solution"][:] == ["1", "2"]
    args.dataset_filter = {"level": [1, 3]}
    with pytest.raises(ValueError, match="row 3 of .* has an empty 'solution'"):
        read_problems(args)
